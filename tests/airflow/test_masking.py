"""Secrets that Airflow knows are masked in what we write."""

from __future__ import annotations

import pytest
from airflow._shared.secrets_masker import secrets_masker as core
from airflow.sdk._shared.secrets_masker import secrets_masker as sdk

from observability import redact
from observability.airflow.masking import follow_masks


@pytest.mark.parametrize("module", [core, sdk])
def test_a_secret_that_airflow_learns_is_masked_from_then_on(module, request):
    secret = f"p.a+s*s(w)\n{request.node.name}-word"
    follow_masks()
    follow_masks()
    module._secrets_masker().add_mask(secret)
    assert redact.text(f"cannot log in with {secret} at the warehouse") == "cannot log in with *** at the warehouse"


@pytest.mark.parametrize("module", [core, sdk])
def test_a_secret_that_airflow_knew_before_is_masked_as_well(module, request):
    secret = f"known-before-{request.node.name}"
    masker = module._secrets_masker()
    masker.patterns = set(masker.patterns)
    masker.add_mask(secret)
    follow_masks()
    assert secret not in redact.text(f"with {secret}")


def test_airflows_own_masking_goes_on(request):
    follow_masks()
    masker = sdk._secrets_masker()
    masker.add_mask("still-masked-by-airflow")
    assert masker.redact("it is still-masked-by-airflow") == "it is ***"


@pytest.mark.parametrize("module", [core, sdk])
def test_a_supervisor_that_forgets_the_secrets_of_one_task_masks_those_of_the_next(module, request):
    before, after = f"before-{request.node.name}", f"after-{request.node.name}"
    follow_masks()
    masker = module._secrets_masker()
    masker.add_mask(before)
    masker.reset_masker()
    masker.add_mask(after)
    assert redact.text(f"{before} {after}") == f"{before} ***"
