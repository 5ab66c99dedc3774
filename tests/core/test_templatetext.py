"""What can be read of a text with expressions is what Helm makes of it; the rest says that it is unread."""

from __future__ import annotations

import pytest

from preflight.templatetext import Scope, read

VALUES = {
    "word": "x",
    "number": 3,
    "large": 2_000_000,
    "list": ["p", "q"],
    "table": {"on": True, "off": False, "name": "it"},
    "empty": "",
}
SCOPE = Scope(VALUES, release="ci", namespace="runners", chart="0.80.1", app_version="18.3.1")


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("a = {{ .Release.Namespace | quote }}", 'a = "runners"'),
        ('a = "{{.Release.Name}}"', 'a = "ci"'),
        ('a = "{{ $.Release.Name }}"', 'a = "ci"'),
        ('a = "v{{ .Chart.AppVersion }}"', 'a = "v18.3.1"'),
        ('a = "{{ .Chart.Name }}-{{ .Chart.Version }}"', 'a = "gitlab-runner-0.80.1"'),
        ('a = "{{ .Values.none | default "x" }}"', 'a = "x"'),
        ('a = "{{ default .Release.Name .Values.empty }}"', 'a = "ci"'),
        ('a = "{{ .Values.none }}"', 'a = ""'),
        ('a = "{{ .Values.none.deeper }}"', 'a = ""'),
        ("a = {{ .Values.list | toJson }}", 'a = ["p","q"]'),
        ("a = {{ .Values.number }}", "a = 3"),
        ("a = {{ .Values.table.on }}", "a = true"),
        ("a = {{ not .Values.table.on }}", "a = false"),
        ("a = {{ .Values.word | squote }}", "a = 'x'"),
        ("a = {{ quote .Values.none }}", "a = "),
        ('a = "{{ .Values.word | upper | lower }}"', 'a = "x"'),
        ('a = "{{ join "-" .Values.list }}"', 'a = "p-q"'),
        ('a = "{{ index .Values.list 1 }}"', 'a = "q"'),
        ('a = "{{ index .Values "table" "name" }}"', 'a = "it"'),
        ('a = {{ ternary "1" "2" (eq .Values.word "x") }}', "a = 1"),
        ("a = {{ if and .Values.word (eq .Values.number 3) }}1{{ else }}2{{ end }}", "a = 1"),
        ("a = {{ if or .Values.empty .Values.none }}1{{ else if .Values.word }}2{{ else }}3{{ end }}", "a = 2"),
        ('{{ if hasKey .Values.table "none" }}a = 1{{ end }}', ""),
        ('a = "{{ "{{" }} x }}"', 'a = "{{ x }}"'),
        ("a = `{{ `{{ x }}` }}`", "a = `{{ x }}`"),
        ("{{- if .Values.table.on }}\np = true\n{{- end }}\nq = 1", "\np = true\nq = 1"),
        ("{{- if .Values.table.off }}\np = true\n{{- end }}\nq = 1", "\nq = 1"),
        ("{{- with .Values.table }}\nn = {{ .name | quote }}\n{{- end }}", '\nn = "it"'),
        ("{{- with .Values.empty }}\nn = 1\n{{- else }}\nn = 2\n{{- end }}", "\nn = 2"),
        ("{{- range .Values.list }}\n[[x]]\nn = {{ . | quote }}\n{{- end }}", '\n[[x]]\nn = "p"\n[[x]]\nn = "q"'),
        (
            "{{- range $key, $value := .Values.table }}\n{{ $key }} = {{ $value }}\n{{- end }}",
            "\nname = it\noff = false\non = true",
        ),
        ("{{- range .Values.none }}a{{ else }}b{{ end }}", "b"),
        ("{{- $x := .Values.word -}}\nb = {{ $x | quote }}", 'b = "x"'),
        ("{{/* a note */}}a = 1", "a = 1"),
        ("{{- /* a note */ -}}\na = 1", "a = 1"),
        ("a = 1 # {{ nobody knows }}", "a = 1 # "),
        ("a = {{ coalesce .Values.none .Values.empty .Values.word | quote }}", 'a = "x"'),
        ('a = "{{ trimSuffix "-x" "y-x" | replace "y" "z" }}"', 'a = "z"'),
        ('a = "{{ .Release.Name | trunc 1 }}"', 'a = "c"'),
    ],
)
def test_what_can_be_read_is_what_helm_makes_of_it(text: str, rendered: str) -> None:
    reading = read(text, SCOPE)
    assert (reading.text, reading.unread, reading.error) == (rendered, (), "")


@pytest.mark.parametrize(
    ("text", "rendered", "bare"),
    [
        ('a = "{{ include "x" . }}"', 'a = "preflight-unread-0"', False),
        ("a = '{{ .Values.list }}'", "a = 'preflight-unread-0'", False),
        ("a = {{ .Values.large }}", 'a = "preflight-unread-0"', True),
        ("a = {{ .Values.word.deeper }}", 'a = "preflight-unread-0"', True),
        ('a = {{ printf "%s" .Values.word }}', 'a = "preflight-unread-0"', True),
        ("a = {{ toJson .Values }}", 'a = "preflight-unread-0"', True),
        ('a = """\n{{ .Files.Get "x" }}"""', 'a = """\npreflight-unread-0"""', False),
        ("a = {{ .Values.word | toJson | sha256sum }}", 'a = "preflight-unread-0"', True),
        ("a = {{ .Capabilities.KubeVersion.Version }}", 'a = "preflight-unread-0"', True),
        ("{{- $x := now -}}\na = {{ $x }}", 'a = "preflight-unread-0"', True),
        ('{{ if lookup "v1" "Secret" "a" "b" }}\na = 1\n{{ else }}\nb = 2\n{{ end }}', None, True),
    ],
)
def test_what_only_helm_can_tell_is_unread(text: str, rendered: str | None, bare: bool) -> None:
    reading = read(text, SCOPE)
    assert [(one.bare, one.anything) for one in reading.unread] == [(bare, False)]
    assert rendered in {None, reading.text}


@pytest.mark.parametrize(
    "text",
    [
        '{{ include "x" . }}\na = 1',
        '{{ template "x" }}',
        '{{ if lookup "v1" "Pod" "" "" }}\n[a]\nb = 1\n{{ end }}',
        "{{ range until 3 }}\na = 1\n{{ end }}",
    ],
)
def test_anything_may_come_of_an_expression_where_a_key_would_stand(text: str) -> None:
    assert [one.anything for one in read(text, SCOPE).unread] == [True]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{{ if .x", "line 1: an action that does not end"),
        ("a\n{{ end }}", "line 2: an end that ends nothing"),
        ("\n\n{{ if true }}", "line 3: a block without its end"),
    ],
)
def test_what_helm_refuses_is_an_error_with_its_line(text: str, reason: str) -> None:
    assert read(text, SCOPE).error == reason


def test_each_line_knows_the_line_that_it_comes_from() -> None:
    text = "a = 1\n{{- if .Values.table.off }}\nb = 2\n{{- end }}\nc = 3\n{{- range .Values.list }}\nd = 4\n{{- end }}"
    reading = read(text, SCOPE)
    assert reading.text.splitlines() == ["a = 1", "c = 3", "d = 4", "d = 4"]
    assert reading.lines == (1, 5, 7, 7)
