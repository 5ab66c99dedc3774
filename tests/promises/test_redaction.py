"""Redaction: a secret is hidden in whatever form it comes, and what operators need to read stays as it is.

Every secret here is made up. Each stands in every place where its kind is met; the places and the secrets are data, so
that a new kind or a new place is one line.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
import sys
import textwrap
import unicodedata
from collections.abc import Callable
from urllib.parse import quote

import pytest

from preflight.evidence import Evidence, clean, one_line
from preflight.redaction import MASK, redact, remember

HEX = "0123456789abcdef" * 4
MIXED = "Zk3vQ8xT1mPw7LrB2nHs"
BODY = base64.b64encode(bytes((index * 73 + 41) % 256 for index in range(700))).decode()

# ---- what is a secret by its own shape, wherever it stands ---------------------------------------------------------

TOKENS = {
    **{
        prefix: f"{prefix}-{MIXED}"
        for prefix in "glpat glptt gldt glrt glrtr glcbt glft glimt glagent gloas glsoat glffct glwt".split()
    },
    "glrt of a project": f"glrt-t3_{MIXED}",
    "glcbt of a job": f"glcbt-64_{MIXED}",
    "glpat, routable": f"glpat-{MIXED}.01.0w{MIXED[:7]}",
    "registration": f"GR1348941{MIXED}",
    "AWS": "AKIAZ7QX3VJK2PLMN4TB",
    "AWS, for a session": "ASIAZ7QX3VJK2PLMN4TB",
    "Alibaba Cloud": f"LTAI{MIXED}",
    "Tencent Cloud": f"AKID{MIXED}{MIXED[:12]}",
    **{f"GitHub {kind}": f"gh{kind}_{MIXED}{MIXED[:16]}" for kind in "posur"},
    "GitHub, fine-grained": f"github_pat_{MIXED}_{MIXED}",
    "Slack": f"xoxb-123456789012-{MIXED}",
    "Vault": f"hvs.{MIXED}",
    "Vault, batch": f"hvb.{MIXED}",
    "age": "AGE-SECRET-KEY-1QYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQ",
    "htpasswd": f"$2y$05${MIXED}{MIXED}{MIXED[:13]}",
    "crypt": f"$6${MIXED[:8]}${MIXED}{MIXED}",
    "npm": f"npm_{MIXED}{MIXED[:16]}",
    "Docker Hub": f"dckr_pat_{MIXED}{MIXED[:7]}",
    "JSON web token": f"eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0{MIXED}.{MIXED}-{MIXED}_{MIXED}",
    "Docker configuration": base64.b64encode(b'{"auths":{"r.example.com":{"auth":"b3BzOmh1bnRlcjI="}}}').decode(),
}  # fmt: skip
PLACES: dict[str, Callable[[str], str]] = {
    "alone": lambda secret: secret,
    "in a sentence": lambda secret: f"the runner sent {secret} and was refused",
    "behind a letter": lambda secret: f"x{secret} y",
    "behind a digit": lambda secret: f"7{secret} y",
    "behind an underscore": lambda secret: f"CI_{secret} y",
    "behind a Chinese character": lambda secret: f"令牌{secret}无效",
    "in quotes": lambda secret: f"token '{secret}', and \"{secret}\"",
    "in JSON": lambda secret: json.dumps({"a": [secret]}),
    "in JSON in JSON": lambda secret: json.dumps(json.dumps({"a": secret})),
    "in a path": lambda secret: f"https://gitlab.example.com/x/{secret}/y?z={secret}#{secret}",
    "in a command": lambda secret: f"helm upgrade --set a.b={secret},c=1 {secret}",
    "at the end of a line": lambda secret: f"a: {secret}\nb: 1",
    "in base64": lambda secret: base64.b64encode(f"x {secret}".encode()).decode(),
    "in base64 of base64": lambda secret: base64.b64encode(base64.b64encode(secret.encode())).decode(),
    "with a soft hyphen": lambda secret: f"a {secret[:3]}\u00ad{secret[3:6]}\u200b{secret[6:]} b",
    "with a tag": lambda secret: f"a {secret[:2]}\U000e0041{secret[2:]} b",
}


def shown_of(secret: str, text: str, *, piece: int = 8) -> list[str]:
    """The pieces of a secret that a text shows, plain or in base64, whatever white space or escapes stand in it."""
    joined = re.sub(r"\s|\\u00ad|\\u200b|\\U000e[0-9a-f]{4}", "", text)
    body = re.sub(r"\s", "", secret)
    pieces = [body[at : at + piece] for at in range(len(body) - piece + 1)] or [body]
    encoded = [base64.b64encode(body[at : at + 12].encode()).decode()[:14] for at in range(max(1, len(body) - 11))]
    return [part for part in {*pieces, *encoded} if part in joined]


@pytest.mark.parametrize("place", PLACES)
def test_a_token_is_hidden_wherever_it_stands(place: str) -> None:
    leaks = {name: text for name, secret in TOKENS.items() if shown_of(secret, text := clean(PLACES[place](secret)))}
    assert leaks == {}


def test_a_token_that_was_wrapped_is_hidden_to_its_end() -> None:
    token = TOKENS["JSON web token"] + MIXED * 6
    for width in (40, 76, 100):
        for indent in ("", "    "):
            lines = textwrap.wrap(token, width)
            for end in (["done"], ["", "done"]):
                text = clean("\n".join(["token:", *(indent + line for line in lines), *end]))
                assert shown_of(token, text) == [], (width, indent)
                assert text.endswith("done")


PEM = "\n".join(["-----BEGIN RSA PRIVATE KEY-----", *textwrap.wrap(BODY, 64), "-----END RSA PRIVATE KEY-----"])
KEYS = {
    "whole": PEM,
    "of OpenSSH": PEM.replace("RSA ", "OPENSSH "),
    "of PKCS 8": PEM.replace("RSA ", ""),
    "of PGP": PEM.replace("RSA PRIVATE KEY", "PGP PRIVATE KEY BLOCK"),
    "without its head": PEM.split("\n", 1)[1],
    "without its end": PEM.rsplit("\n", 1)[0],
    "its body": "\n".join(textwrap.wrap(BODY, 64)),
    "indented": textwrap.indent(PEM.split("\n", 1)[1], "      "),
    "in JSON": json.dumps({"key": PEM}),
    "its body in JSON": json.dumps("\n".join(textwrap.wrap(BODY, 64))),
    "in base64": base64.b64encode(PEM.encode()).decode(),
    "in base64, wrapped": "\n".join(textwrap.wrap(base64.b64encode(PEM.encode()).decode(), 76)),
    "a manifest's": "data:\n  tls.key: " + base64.b64encode(PEM.encode()).decode(),
    "on one line": BODY,
}


@pytest.mark.parametrize("form", KEYS)
def test_a_private_key_is_hidden_without_being_known(form: str) -> None:
    text = clean(f"before\n{KEYS[form]}\nafter", longest=100_000)
    assert shown_of(KEYS[form].replace("-----", ""), re.sub("-----.*?-----", "", text), piece=16) == []
    assert text.startswith("before\n")


# ---- what is a secret by the name before it --------------------------------------------------------------------------

WORDS = {"mixed": "hunter2-Zk3v", "small letters": "correcthorsebattery", "with dashes": "correct-horse-battery",
         "with signs": "p4ss/w+rd&x=y~z"}  # fmt: skip
NAMES = (
    "password passwd db_password MYSQL_PASSWORD passphrase token api_token runnerToken CI_JOB_TOKEN secretKey "
    "secret_access_key AWS_SECRET_ACCESS_KEY account-key apiKey private_key clientSecret client_secret dsn credentials "
    "client-key-data authConfig"
).split()
SETTINGS: dict[str, Callable[[str, str], str]] = {
    "YAML": lambda name, value: f"a: 1\n{name}: {value}\nb: 2",
    "YAML, indented": lambda name, value: f"a:\n  - {name}: {value}",
    "YAML, quoted": lambda name, value: f"{name}: '{value}'",
    "YAML, a block": lambda name, value: f"{name}: |-\n    {value}\nb: 2",
    "YAML, with a tag": lambda name, value: f"{name}: !!str {value}",
    "YAML, a flow": lambda name, value: f"{{{name}: '{value}', b: 2}}",
    "TOML": lambda name, value: f'{name} = "{value}"',
    "INI": lambda name, value: f"[a]\n{name} = {value}\nb = 2",
    "JSON": lambda name, value: json.dumps({name: value, "b": 2}),
    "JSON in JSON": lambda name, value: json.dumps(json.dumps({name: value})),
    "Python": lambda name, value: repr({name: value}),
    "an environment": lambda name, value: f"A=1 {name}={shlex.quote(value)} B=2",
    "a header": lambda name, value: f"> X-{name}: {value}\n> Accept: */*",
    "an option": lambda name, value: f"helm --{name} {shlex.quote(value)} --wait",
    "an option with =": lambda name, value: f"helm --{name}={shlex.quote(value)} --wait",
}


RARE_NAMES = (
    "pwd pass auth signing_key encryption-key master_key sas_key app_secret dockerconfigjson dockercfg tls.key "
    "x-registry-auth 密码 口令 令牌 密钥 TOKEN Passwd"
).split()


def test_no_name_is_passed_over_before_it_is_searched_for() -> None:
    """A text that holds no part of a name is not searched for names: each name holds one."""
    passed_over = [name for name in (*NAMES, *RARE_NAMES) if "hunter2" in clean(f'{name}: "hunter2-Zk3v"')]
    assert passed_over == []


@pytest.mark.parametrize("form", SETTINGS)
def test_what_stands_after_a_secrets_name_is_hidden(form: str) -> None:
    leaks = {
        (name, kind): text
        for name in NAMES
        for kind, value in WORDS.items()
        if not (kind == "with signs" and form == "INI")  # where & begins another pair
        and shown_of(value, text := clean(SETTINGS[form](name, value)))
    }
    assert leaks == {}


SENTENCES = (
    ("HTTPS://ops:{}@gitlab.example.com/x.git", "hunter2"),
    ("http://ops:{}@gitlab.example.com:8080/x", "hunter2/with/slashes"),
    ("http://ops:{}@gitlab.example.com/x", "hunter2#and?signs"),
    ("http://ops%3A{}@gitlab.example.com/x", "hunter2"),
    ("https%3A%2F%2Fops%3A{}%40gitlab.example.com%2Fx", "hunter2"),
    ("https://{}@gitlab.example.com/x.git", "hunter2"),
    ("GET http://10.0.0.1/x from redis://:{}@cache:6379/0", "hunter2"),
    ("amqp+tls://u:{}@mq and mongodb+srv://u:x@y", "hunter2"),
    ("ops:{}@tcp(10.0.0.1:3306)/gitlab", "hunter2"),
    ("https://s3.example.com/b/k?X-Amz-Credential=A&X-Amz-Signature={}&X-Amz-Date=1", HEX),
    ("https://s3.example.com/b/k?X-Amz-Security-Token={}", MIXED),
    ("https://s3.example.com/b/k?AWSAccessKeyId=x&Signature={}&Expires=1", "aB3%2FcD4eF5%3D"),
    ("https://a.blob.core.windows.net/c?sv=2022&sig={}&se=1", "aB3%2FcD4eF5%3D"),
    ("https://storage.googleapis.com/b/k?X-Goog-Signature={}", HEX),
    ("https://b.oss-cn-hangzhou.aliyuncs.com/k?OSSAccessKeyId=x&Signature={}", "aB3%2FcD4eF5%3D"),
    ("Set-Cookie: _gitlab_session={}; path=/; HttpOnly", HEX[:32]),
    ("Cookie: a=b; session={}", MIXED),
    ("X-Auth-Token: {}", MIXED),
    ("X-Vault-Token: {}", "s.abcdefgh"),
    ("curl -H 'X-Auth-Token: {}' http://x", "correcthorse"),
    ("PRIVATE-TOKEN: {}", MIXED),
    ("JOB-TOKEN: {}", "correcthorse"),
    ("X-Registry-Auth: {}", MIXED),
    ("Authorization: Bearer {}", MIXED),
    ("authorization: basic {}", "b3BzOmh1bnRlcjI="),
    ("Authorization: {}", MIXED),
    ("sent Bearer {}", MIXED),
    ("curl --oauth2-bearer x -H 'Bearer {}'", f"{MIXED}.x"),
    ("sent Basic {}", "b3BzOmh1bnRlcjI="),
    ('"auth": "{}"', "b3BzOmh1bnRlcjI="),
    ("auth: {}", "b3BzOmh1bnRlcjI="),
    ("docker login -u ops -p {} registry.example.com", "hunter2"),
    ("echo x | docker login -p{} registry.example.com", "hunter2"),
    ("docker login --username ops --password {} registry.example.com", "hunter2"),
    ("docker login --username ops \\\n  --password \\\n  {}", "hunter2"),
    ("helm registry login r.example.com -u ops -p '{}'", "hunter2 with space"),
    ("curl -u ops:{} http://x", "hunter2"),
    ('curl -sSu "ops:{}" http://x', "hunter2"),
    ("curl --user 'ops:{}' http://x", "hunter2"),
    ("curl --proxy-user ops:{} http://x", "hunter2"),
    ("skopeo copy --dest-creds ops:{} a b", "hunter2"),
    ("crictl pull --creds ops:{} a", "hunter2"),
    ("sshpass -p {} ssh root@x", "hunter2"),
    ("machine x login ops password {}", "hunter2"),
    ("密码\uff1a{}", "hunter2"),
    ("令牌: {}", "hunter2"),
    ("kubectl create secret generic x --from-literal=password={}", "hunter2"),
)


@pytest.mark.parametrize(("sentence", "secret"), SENTENCES)
def test_what_stands_where_secrets_stand_is_hidden(sentence: str, secret: str) -> None:
    text = clean(sentence.format(secret))
    assert shown_of(secret, text, piece=min(7, len(secret))) == []
    assert MASK in text


# ---- what is a secret because it was read ----------------------------------------------------------------------------

KNOWN = {
    "words": "made-up-known-secret-0815",
    "signs": "A/+&<w\"x\\y'>%41= made-up",
    "Chinese": "机密的口令-made-up-0815",
    "long": "".join(f"made-up-{index}/" for index in range(40)),
    "a key": PEM,
}
WRITTEN: dict[str, Callable[[str], str]] = {
    "plain": str,
    "wrapped": lambda secret: "\n".join(secret[at : at + 9] for at in range(0, len(secret), 9)),
    "wrapped and quoted": lambda secret: "\n".join(f"    > {secret[at : at + 11]}" for at in range(0, len(secret), 11)),
    "in JSON": json.dumps,
    "as Go writes JSON": lambda secret: json.dumps(secret).translate(
        {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&"}
    ),
    "in JSON in JSON": lambda secret: json.dumps(json.dumps(secret)),
    "for a shell": shlex.quote,
    "for a shell, with backslashes": lambda secret: re.sub(r"([^\w\n])", r"\\\1", secret),
    "in double quotes": lambda secret: '"' + re.sub(r'(["\\$`])', r"\\\1", secret) + '"',
    "in a URL": lambda secret: quote(secret, safe=""),
    "in base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "in base64, behind something": lambda secret: base64.b64encode(f"ab{secret}".encode()).decode(),
    "in base64, wrapped": lambda secret: base64.encodebytes(secret.encode()).decode(),
    "in base64 of base64": lambda secret: base64.b64encode(base64.b64encode(secret.encode())).decode(),
    "in base64 of base64, wrapped": lambda secret: base64.encodebytes(base64.encodebytes(secret.encode())).decode(),
    "in base64 thrice": lambda secret: base64.b64encode(
        base64.b64encode(base64.b64encode(secret.encode()))
    ).decode(),
    "in base16": lambda secret: secret.encode().hex(),
    "with soft hyphens": "\u00ad".join,
    "with fillers": lambda secret: "\u3164".join(secret[at : at + 2] for at in range(0, len(secret), 2)),
    "with tags": "\U000e0020".join,
    "with colours": lambda secret: "\x1b[1m".join(secret[at : at + 3] for at in range(0, len(secret), 3)),
}  # fmt: skip


@pytest.mark.parametrize("form", WRITTEN)
@pytest.mark.parametrize("kind", KNOWN)
def test_a_known_secret_is_hidden_however_it_is_written(kind: str, form: str) -> None:
    secret = remember(KNOWN[kind])
    text = clean(f"before {WRITTEN[form](secret)} after", longest=100_000)
    assert MASK in text
    assert shown_of(secret, re.sub("-----.*?-----", "", text), piece=9) == []
    assert text.startswith("before ")
    assert text.endswith("after")


@pytest.mark.parametrize("length", [3_000, 30_000, 3_000_000])
def test_no_cut_shows_half_of_a_secret(length: int) -> None:
    """Wherever it stands in a text that is too long to be shown."""
    secret = remember(KNOWN["words"])
    for token in (secret, TOKENS["glpat"]):
        for at in (*range(1_290, 1_320, 11), *range(length - 690, length - 620, 11)):
            text = clean("x" * at + f" {token} " + "y" * (length - at))
            assert shown_of(token, text) == [], at


# ---- what nobody sees ------------------------------------------------------------------------------------------------


def test_what_nobody_sees_is_shown_as_an_escape_or_taken_out() -> None:
    invisible = [
        chr(code)
        for code in range(sys.maxunicode + 1)
        if unicodedata.category(chr(code)) in {"Cf", "Zl", "Zp", "Cc", "Cs"} and chr(code) not in "\n\t"
    ]
    invisible += list("\u034f\u115f\u1160\u17b4\u180b\u2800\u3164\uffa0\ufe00\U000e0000\U000e0020\U000e0100\U000e0fff")
    for character in invisible:
        assert character not in clean(f"a{character}b"), ascii(character)
        assert character not in one_line(f"a{character}b"), ascii(character)
    assert clean("gitlab\u00ad.example\u3164.com\U000e0041") == "gitlab\\u00ad.example\\u3164.com\\U000e0041"
    assert clean("\u26a0\ufe0f 警告 é ñ") == "\u26a0\ufe0f 警告 é ñ"
    assert clean("a\ufe0f") == "a\\ufe0f"


# ---- what has to stay ------------------------------------------------------------------------------------------------

READABLE = f"""\
node k8s-worker-1 is Ready, v1.28.15, 10.1.0.101, containerd://1.7.13, 16Gi of memory, 4096 MiB free
registry.example.com/library/alpine:3.19@sha256:{HEX}
docker-pullable://registry.example.com:5000/group/app@sha256:{HEX}
https://registry.example.com:5000/v2/library/alpine/manifests/3.19 answered 401
git@gitlab.example.com:group/project.git, ssh://git@gitlab.example.com:22/x.git, mailto:ops@example.com
https://charts.gitlab.io/a/@scope/x.tgz?ref=v1.2.3&per_page=100
Www-Authenticate: Bearer realm="https://gitlab.example.com/jwt/auth",service="container_registry"
2.2 test_gitlab_answers, 3.1 test_values_have_a_token[gitlab-runner-values.yaml]: passed
cause     token-revoked: GitLab refuses the runner's token: 403 Forbidden
9 checks blocked by 2.2.6 A runner in GitLab has the token: token-revoked: none of 2 runners has it
`kubectl create secret generic x --from-literal=runner-token=TOKEN --from-literal=runner-registration-token=`, and `x`
gitlab-runner-values.yaml:12: runnerToken: found a list, expected a text
runnerToken: found twice, expected once; the token: expected one that begins with glrt-
api_token: ${{GITLAB_API_TOKEN}}, password: $PASSWORD, token: <token>, --token "$RUNNER_TOKEN"
credentials: secret:gitlab/private-registry/.dockerconfigjson
secret: gitlab-runner-token, imagePullSecrets: [private-registry], serviceAccount: gitlab-runner
curl -sS --oauth2-bearer "$GITLAB_API_TOKEN" http://192.168.1.50/api/v4/version
curl -u "ops:$REGISTRY_PASSWORD" https://registry.example.com/v2/
docker login -u USER -p PASSWORD HOST; helm upgrade --set runnerToken=TOKEN; https://USER:PASSWORD@HOST/x
YOUR_RUNNER_TOKEN_HERE; kubectl get secret NAME -o jsonpath='{{.data.runner-token}}' | base64 -d
ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8x3vQ8xT1mPw7LrB2nHsZk3vQ8xT1mPw7LrB2nHsZk root@k8s-worker-1
SHA256:uNiVztksCsDhcc0u9e8BrVJoyVgxHGVYGXZoCUOgJDo, 2e:1f:{HEX[:2]}, serial 4f{HEX[:38]}
pod runner-zk3vq8xt-project-42-concurrent-0-1mpw7lrb, uid 7d1f3c9a-52b5-4d5e-9e0b-0c1d2e3f4a5b
tokens: 3, token_expires_at: 2027-01-01, max_tokens=4096, 250m of 4000m CPU, 1.5 s, 512 bytes
level=error msg="login failed" user=ops code=403 path=/etc/gitlab-runner/config.toml
the token is missing, the password was refused; authorization: denied; with --token and --url as arguments
Error: INSTALLATION FAILED: cannot re-use a name that is still in use
sha512-{"aB3" * 28}== integrity
"""


def test_what_operators_read_stays() -> None:
    for line in READABLE.splitlines():
        assert clean(line) == line
    assert clean(READABLE, longest=10_000) == READABLE


CERTIFICATE = PEM.replace("RSA PRIVATE KEY", "CERTIFICATE")


def test_a_certificate_is_no_secret() -> None:
    assert redact(CERTIFICATE) == CERTIFICATE


def test_what_was_cleaned_stays_as_it_is() -> None:
    for _, secret in SENTENCES:
        for sentence, _ in SENTENCES:
            once = clean(sentence.format(secret))
            assert clean(once) == once


def test_evidence_is_cleaned_in_all_its_parts() -> None:
    secret = TOKENS["glpat"]
    evidence = Evidence(where=secret, command=f"curl {secret}", observed=secret)
    assert [evidence.where, evidence.command, evidence.observed] == [MASK, f"curl {MASK}", MASK]
