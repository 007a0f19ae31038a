"""The models of all cases, and which of them can do what."""

from __future__ import annotations

from tests.contract.families import CASES, shared_model

MODELS = {case.id: shared_model(case) for case in CASES}
KINDS = {name: made.likelihood_kind() for name, made in MODELS.items()}
WITH_LIKELIHOOD = [case for case in CASES if KINDS[case.id] != "none"]
TIGHTENED = [case for case in WITH_LIKELIHOOD if MODELS[case.id].likelihood_kind(20) != KINDS[case.id]]
ESTIMATED = [case for case in WITH_LIKELIHOOD if case not in TIGHTENED and KINDS[case.id] != "exact"]
MASKED = [case for case in CASES if case.spec.has_mask]
