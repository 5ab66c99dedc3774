"""2.1 GitLab server: it answers, it is GitLab, it is up, and it is the version that the runner was chosen for."""

from preflight.facts import Clock, GitLabReply, GitLabVersion


def test_gitlab_port_answers(gitlab_connection: GitLabReply) -> None:
    """2.1.1 GitLab's port answers.

    Why: every runner manager and every job talks to this address; nothing else works without it.
    Remedy (refused): start GitLab on its host (`gitlab-ctl status`, `gitlab-ctl start`), or correct the port in
        `gitlab.url` and `gitlabUrl`.
    Remedy (timeout): open the port in GitLab's security group and host firewall for this machine, and check that
        the host is up.
    Remedy (unreachable): mend the route from here to GitLab's network (VPC route table, VPN).
    Remedy (unresolved): give GitLab's name an address in the DNS that this machine uses, or correct `gitlab.url`.
    Remedy (silent): look at the web server on GitLab's host: it accepts connections and does not answer
        (`gitlab-ctl tail nginx`).
    Remedy (reset): look for a firewall or proxy in between that cuts connections to GitLab.
    Remedy (tls-untrusted): put the PEM of the CA that signed GitLab's certificate into `gitlab.ca_file`, and into
        the secret that `certsSecretName` names.
    Remedy (tls-expired): renew GitLab's certificate.
    Remedy (tls-wrong-name): use the name in the certificate as `gitlab.url`, or reissue it for this one.
    Remedy (tls-handshake): use http:// if GitLab serves no TLS on this port.
    Remedy: make `gitlab.url` in the inventory answer from here: `curl -v` shows where it ends.
    """
    assert not gitlab_connection.fault


def test_gitlab_is_up(gitlab_service: GitLabReply) -> None:
    """2.1.2 GitLab is up behind its web server.

    Why: nginx answers 502 or 503 while GitLab itself is down or starting, and runners then retry in silence.
    Remedy (bad-gateway): Puma is down or still starting: `gitlab-ctl status puma`, `gitlab-ctl tail puma`; it needs
        some minutes after a restart, and memory.
    Remedy (unavailable): end the maintenance mode or deploy page, or wait until GitLab is less loaded.
    Remedy: read `gitlab-ctl tail` on GitLab's host while asking again.
    """
    assert not gitlab_service.fault


def test_gitlab_url_needs_no_redirect(gitlab_location: GitLabReply) -> None:
    """2.1.3 GitLab's URL is the final one.

    Why: on a redirect to another scheme or host the runner's POST becomes a GET, so registration and job requests
    fail although a browser gets through.
    Remedy (redirected): put the final URL into `gitlabUrl` of the values file and into `gitlab.url`, or set GitLab's
        `external_url` to the one you use.
    Remedy: use the URL that GitLab itself names.
    """
    assert not gitlab_location.fault


def test_gitlab_is_gitlab(gitlab_identity: GitLabReply) -> None:
    """2.1.4 What answers is GitLab.

    Why: a default page of another web server, a portal or a proxy also answers with 200.
    Remedy (not-gitlab): correct host and port in `gitlab.url`, or the virtual host that serves this address.
    Remedy: let the address serve GitLab: `/api/v4/version` must answer 401 with an `X-Gitlab-Meta` header.
    """
    assert not gitlab_identity.fault


def test_gitlab_has_the_expected_version(gitlab_version: GitLabVersion) -> None:
    """2.1.5 GitLab has the expected version.

    Why: a runner's major and minor version should be GitLab's; features and fixes go by pairs.
    Remedy (token-refused): renew `gitlab.api_token`: it needs the scope `read_api` and must not be expired.
    Remedy: upgrade GitLab, or correct `gitlab.version` in the inventory and choose the chart for it.
    """
    assert not gitlab_version.fault


def test_gitlab_clock_agrees_with_each_worker(node_clock: Clock) -> None:
    """2.1.6 GitLab's clock and each worker's agree.

    Why: tokens, caches and TLS certificates carry times; a job on a node whose clock is off fails at random places.
    Remedy: start time synchronisation on the host that is off: `timedatectl set-ntp true`, `chronyc makestep`.
    """
    assert not node_clock.fault
