"""11 Build and push: variables and rights that jobs need to push an image, and a job that pushes one (6.4 too)."""

from preflight.facts import Job, Manifest, PushPermission, RefProtection, VariableState


def test_each_variable_is_defined(variable_presence: VariableState) -> None:
    """11.4.1 Each CI/CD variable that jobs need is defined.

    Why: an empty `$ACR_PASSWORD` makes `docker login` fail with "unauthorized: authentication required".
    Remedy (variable-missing): add it under Settings → CI/CD → Variables of the project or its group.
    Remedy: Settings → CI/CD → Variables must list it, for all environments.
    """
    assert not variable_presence.fault


def test_each_secret_variable_is_masked(variable_masking: VariableState) -> None:
    """11.4.2 Each CI/CD variable that must be masked is masked.

    Why: a job that prints its environment shows an unmasked password to everyone who can read its log.
    Remedy (variable-unmasked): edit the variable and choose "Masked"; GitLab masks values of at least 8 characters, in
        one line, of letters, digits and `_+=/@:.~-`. Change the password if a log has shown it.
    Remedy: Settings → CI/CD → Variables must show it as masked.
    """
    assert not variable_masking.fault


def test_each_variable_is_protected_as_expected(variable_protection: VariableState) -> None:
    """11.4.3 Each CI/CD variable that must be protected is protected.

    Why: otherwise anyone who can push a branch gets the registry's password.
    Remedy (variable-unprotected): edit the variable and choose "Protect variable", or set `protected: false` for it.
    Remedy: Settings → CI/CD → Variables must show it as protected.
    """
    assert not variable_protection.fault


def test_the_branch_gets_protected_variables(ref_protection: RefProtection) -> None:
    """11.4.4 Protected variables reach the jobs of the pipelines' branch.

    Why: in jobs of an unprotected branch they are empty, and nothing reports it; the guide's `only: main` hides it.
    Remedy (ref-unprotected): protect the branch under Settings → Repository → Protected branches.
    Remedy: the branch's API must return `"protected": true`.
    """
    assert not ref_protection.fault


def test_jobs_may_push_to_the_repository(push_permission: PushPermission) -> None:
    """11.4.5 The account that jobs push with has push rights on each repository.

    Why: a login does not prove push rights: registries issue tokens with fewer rights than requested.
    Remedy (denied): grant the account push rights on this repository; a pull-only account or robot is not enough.
    Remedy (unauthorized): set the account in the project's variables, or in `credentials` of the registry.
    Remedy (not-found): create the organisation or the repository in the registry.
    Remedy: make `docker push` to the repository succeed with the account of the project's variables.
    """
    assert not push_permission.fault


def test_a_job_builds_and_pushes_an_image(build_job: Job) -> None:
    """11.5.1 A job with Docker-in-Docker builds an image, logs in and pushes it.

    Why: it is the guide's complete example, with a tiny image.
    Remedy (job-stuck): give the runner the job's tags, and make sure that a pod with a service fits on a node.
    Remedy (job-failed): the job's log says why: the daemon (see 5), the login (see 11.4) or the push.
    Remedy (job-slow): see what delays the job's pod: `kubectl get pods -n NAMESPACE -w`.
    Remedy: run the job by hand: Build → Pipelines → New pipeline, and play it.
    """
    assert not build_job.fault


def test_the_pushed_image_is_in_the_registry(pushed_image: Manifest) -> None:
    """11.5.2 The image that the job pushed is in the registry, for the nodes' platform.

    Why: an image that was pushed elsewhere, or for another platform, fails only at the deployment.
    Remedy (not-found): set `PREFLIGHT_REPOSITORY` of the job and `pipeline.image` to the same repository.
    Remedy (wrong-platform): build on a node of the platform, or with `docker buildx build --platform`.
    Remedy: make `docker manifest inspect` of the pushed tag succeed.
    """
    assert not pushed_image.fault
