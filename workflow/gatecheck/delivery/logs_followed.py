"""delivery/logs.json: how the machine followed its plan, for the report."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from gatecheck.delivery.logged import LoggedBeam, assigned, errors_of
from gatecheck.delivery.model import Delivery
from gatecheck.delivery.trajectory_log import TrajectoryLog
from gatecheck.files import HandedOn


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FollowedAxis(_Part):
    """Actual minus expected position of one axis while the beam was on."""

    axis: str
    unit: str = Field(description="degrees, mm at the isocentre plane, or MU")
    root_mean_square: float
    largest: float = Field(description="with its sign")


class FollowedBeam(_Part):
    """One beam by its log."""

    number: int = Field(description="of the plan's beam")
    log: int = Field(description="which of the logs given, from 1")
    sub_beam: int = Field(description="which of that log's beams, from 1")
    version: str
    mlc: str
    is_truncated: bool
    names_plan: bool = Field(description="the log holds the plan's UID, and that is this plan's; else by its shape")
    seconds: float
    meterset_planned: float
    meterset_delivered: float
    axes: tuple[FollowedAxis, ...]
    leaf_root_mean_square_x1: tuple[float, ...] = Field(description="mm of each leaf, from Y1 to Y2")
    leaf_root_mean_square_x2: tuple[float, ...]
    gantry_lag_seconds: float | None = Field(description="null: the gantry stood still")


class LogsFollowed(HandedOn):
    """Written as delivery/logs.json beside delivered.parquet."""

    made_from_sha256: str = Field(description="of the delivery as planned and of the logs: that of delivered.parquet")
    logs_sha256: tuple[str, ...]
    beams: tuple[FollowedBeam, ...]


def logs_followed(
    delivery: Delivery, logs: Sequence[TrajectoryLog], made_from_sha256: str, plan_uid_sha256: str = ""
) -> LogsFollowed:
    """How every beam of a delivery was followed.

    Raises
    ------
    InputError
        As `gatecheck.delivery.logged.assigned`.
    """
    of_beam = assigned(delivery, logs, plan_uid_sha256)
    planned = {beam.number: beam.total_meterset for beam in delivery.beams}
    return LogsFollowed(
        made_from_sha256=made_from_sha256,
        logs_sha256=tuple(log.sha256 for log in logs),
        beams=tuple(
            _followed(number, place, logged, planned[number], names_plan=bool(plan_uid_sha256))
            for number, (place, logged) in of_beam.items()
        ),
    )


def _followed(number: int, place: int, logged: LoggedBeam, planned: float, *, names_plan: bool) -> FollowedBeam:
    errors, log = errors_of(logged), logged.log
    return FollowedBeam(
        number=number,
        log=place,
        sub_beam=logged.number + 1,
        version=str(log.version),
        mlc=log.mlc_model,
        is_truncated=log.is_truncated,
        names_plan=names_plan and log.plan is not None,
        seconds=errors.seconds,
        meterset_planned=planned,
        meterset_delivered=logged.meterset,
        axes=tuple(
            FollowedAxis(axis=one.axis, unit=one.unit, root_mean_square=one.root_mean_square, largest=one.largest)
            for one in errors.axes
        ),
        leaf_root_mean_square_x1=tuple(errors.leaves[0].tolist()),
        leaf_root_mean_square_x2=tuple(errors.leaves[1].tolist()),
        gantry_lag_seconds=errors.gantry_lag,
    )
