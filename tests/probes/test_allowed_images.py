"""The images that jobs use are allowed by the values, or the runner fails the jobs."""

from __future__ import annotations

import pytest

from preflight.faults import ValuesFault
from preflight.jobshape import JobShape
from preflight.probes import allowed_images

SHAPE = JobShape(namespace="ci", image="r.example/library/alpine:3", helper_image="h")
CLIENT, DAEMON = "r.example/library/docker:cli", "r.example/library/docker:dind"


@pytest.mark.parametrize(
    ("images", "services", "refused"),
    [
        ((), (), ()),
        (("r.example/**",), ("r.example/**",), ()),
        (("r.example/*",), (), (CLIENT,)),  # the others may be services, which are all allowed
        (("r.example/*/*",), ("r.example/library/docker:2*",), (DAEMON,)),
        (("r.example/library/docker:cli",), ("r.example/*/docker:dind",), ("r.example/team/app:1",)),
        ((), ("r.example/library/docker:{dind,24-dind}",), ()),
        (("[",), (DAEMON,), (CLIENT, "r.example/team/app:1")),
    ],
)
def test_what_no_pattern_takes_in_is_refused(
    images: tuple[str, ...], services: tuple[str, ...], refused: tuple[str, ...]
) -> None:
    shape = JobShape(
        namespace="ci", image=SHAPE.image, helper_image="h", allowed_images=images, allowed_services=services
    )
    listed = [SHAPE.image, "r.example/team/app:1"]
    found = allowed_images.judge(shape, images=listed, jobs=[CLIENT], services=[DAEMON])
    assert found.refused == refused
    assert found.fault is (ValuesFault.NOT_ALLOWED if refused else None)
    assert all(image in found.cause for image in refused)


def test_the_values_own_image_is_always_allowed() -> None:
    shape = JobShape(namespace="ci", image=DAEMON, helper_image="h", allowed_services=("x",), allowed_images=("x",))
    assert allowed_images.judge(shape, images=[], jobs=[DAEMON], services=[DAEMON]).fault is None
