"""2.1 GitLab server: it answers, it is GitLab, it is up, and it is the version that the runner was chosen for."""

from preflight.facts import Clock, GitLabReply, GitLabVersion, Uploads


def test_gitlab_port_answers(gitlab_connection: GitLabReply) -> None:
    """2.1.1 GitLab's port answers.

    Why: every runner manager and every job connects to this address; nothing else works without it.
    Remedy (refused): start GitLab on its host (`gitlab-ctl status`, `gitlab-ctl start`), or correct the port in
        `gitlab.url` and `gitlabUrl`.
    Remedy (timeout): open the port in GitLab's security group and host firewall for this machine, and check that the
        host is up.
    Remedy (unreachable): fix the route from here to GitLab's network (VPC route table, VPN).
    Remedy (unresolved): add a record for GitLab's name to the DNS that this machine uses, or correct `gitlab.url`.
    Remedy (silent): check the web server on GitLab's host: it accepts connections and does not answer (`gitlab-ctl tail
        nginx`).
    Remedy (reset): look for a firewall or proxy in between that resets connections to GitLab.
    Remedy (tls-untrusted): put the PEM of the CA that signed GitLab's certificate into `gitlab.ca_file`, and into the
        secret that `certsSecretName` names.
    Remedy (tls-expired): renew GitLab's certificate.
    Remedy (tls-wrong-name): use the name in the certificate in `gitlab.url`, or reissue the certificate for this name.
    Remedy (tls-handshake): use http:// if GitLab serves no TLS on this port.
    Remedy: make `gitlab.url` of the inventory reachable from here: `curl -v` shows where it fails.
    """
    assert not gitlab_connection.fault


def test_gitlab_is_up(gitlab_service: GitLabReply) -> None:
    """2.1.2 GitLab is up behind its web server.

    Why: nginx answers 502 or 503 while GitLab itself is down or starting, and runners then retry without a message.
    Remedy (bad-gateway): Puma is down or still starting: `gitlab-ctl status puma`, `gitlab-ctl tail puma`; it needs
        memory, and some minutes after a restart.
    Remedy (unavailable): end the maintenance mode or deploy page, or wait until GitLab is less busy.
    Remedy: read `gitlab-ctl tail` on GitLab's host while repeating the request.
    """
    assert not gitlab_service.fault


def test_gitlab_url_needs_no_redirect(gitlab_location: GitLabReply) -> None:
    """2.1.3 GitLab's URL is the final one.

    Why: on a redirect to another scheme or host the runner's POST becomes a GET, so registration and job requests fail
        although a browser works.
    Remedy (redirected): set `gitlabUrl` of the values file and `gitlab.url` to the final URL, or set GitLab's
        `external_url` to the one in use.
    Remedy: use the URL that GitLab redirects to.
    """
    assert not gitlab_location.fault


def test_gitlab_is_gitlab(gitlab_identity: GitLabReply) -> None:
    """2.1.4 The service at GitLab's URL is GitLab.

    Why: another web server's default page, a portal or a proxy also answers with 200.
    Remedy (not-gitlab): correct host and port in `gitlab.url`, or the virtual host that serves this address.
    Remedy: serve GitLab at this address: `/api/v4/version` must answer 401 with an `X-Gitlab-Meta` header.
    """
    assert not gitlab_identity.fault


def test_gitlab_has_the_expected_version(gitlab_version: GitLabVersion) -> None:
    """2.1.5 GitLab has the expected version.

    Why: a runner should have GitLab's major and minor version; they are released and tested in pairs.
    Remedy (token-refused): renew `gitlab.api_token`: it needs the scope `read_api` and must not have expired.
    Remedy: upgrade GitLab, or correct `gitlab.version` in the inventory and choose the chart for it.
    """
    assert not gitlab_version.fault


def test_gitlab_clock_agrees_with_each_worker(node_clock: Clock) -> None:
    """2.1.6 GitLab's clock and each worker's agree.

    Why: tokens, caches and TLS certificates have times in them; a job on a node whose clock is wrong fails in random
        places.
    Remedy: start time synchronisation on the host whose clock is wrong: `timedatectl set-ntp true`, `chronyc makestep`.
    """
    assert not node_clock.fault


def test_gitlab_takes_large_uploads(gitlab_uploads: Uploads) -> None:
    """2.1.7 GitLab takes uploads of the size that jobs need.

    Why: a proxy or ingress in front of GitLab takes bodies of 1 MB unless it is told otherwise; jobs then run to their
        end and fail with 413 when they upload artifacts.
    Remedy: raise `client_max_body_size` of the web server that answers 413, or `proxy-body-size` of the ingress, or
        correct `limits.upload_size`.
    """
    assert not gitlab_uploads.fault
