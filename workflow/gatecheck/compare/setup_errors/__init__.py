"""Setup robustness: what errors of the patient's setup do to the cord's and the tumour's dose."""
