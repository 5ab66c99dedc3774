"""Which values a template reads."""

from __future__ import annotations

import pytest

from preflight.gotemplate import MOST_NODES, NotATemplateError, Reader, parse, values_read


def read(text: str) -> set[str]:
    return {".".join(path) for path in values_read(text)}


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("{{ .Values.a.b }}", {"a.b"}),
        ("{{- .Values.a -}}", {"a"}),
        ("{{$.Values.a}}", {"a"}),
        ('{{ index .Values "a-b" "c" }}', {"a-b", "a-b.c"}),
        ('{{ get (get .Values "a") "b" }}', {"a", "a.b"}),
        ('{{ dig "a" "b" "fallback" .Values }}', {"a", "a.b"}),
        ('{{ if hasKey .Values.a "b" }}{{ end }}', {"a", "a.b"}),
        ('{{ (index .Values "a").b }}', {"a", "a.b"}),
        ("{{ .Values.a | default .Values.b | quote }}", {"a", "b"}),
        (
            "{{ if and .Values.a (not .Values.b) }}{{ .Values.c }}{{ else if .Values.d }}{{ else }}{{ .Values.e }}"
            "{{ end }}",
            {*"abcde"},
        ),
        ("{{ with .Values.a }}{{ .b }}{{ $.Values.c }}{{ end }}", {"a", "a.b", "c"}),
        ("{{ with .Values.a }}{{ else }}{{ .Values.b }}{{ end }}", {"a", "b"}),
        ("{{ with $x := .Values.a }}{{ $x.b }}{{ end }}", {"a", "a.b"}),
        ("{{ range .Values.a }}{{ .b }}{{ end }}", {"a", "a.*.b"}),
        ("{{ range $key, $value := .Values.a }}{{ $key }}{{ $value.b }}{{ end }}", {"a", "a.*.b"}),
        (
            "{{ $x := .Values.a }}{{ if .Values.b }}{{ $x = .Values.c }}{{ end }}{{ $x.d }}",
            {"a", "b", "c", "a.d", "c.d"},
        ),
        ('{{ define "x" }}{{ .Values.a }}{{ end }}{{ include "x" . }}', {"a"}),
        ('{{ define "x" }}{{ .b }}{{ end }}{{ template "x" .Values.a }}', {"a", "a.b"}),
        (
            '{{ define "x" }}{{ .ctx.Values.a }}{{ .of.c }}{{ end }}{{ include "x" (dict "ctx" $ "of" .Values.b) }}',
            {"a", "b", "b.c"},
        ),
        ('{{ block "x" .Values.a }}{{ .b }}{{ end }}', {"a", "a.b"}),
        ("{{/* .Values.a */}}{{- /* .Values.b */ -}}", set()),
        ('{{ "}} {{ .Values.a" }}{{ .Values.b }}', {"b"}),
        ("{{ `{{ .Values.a }}` }}", set()),
        ("{{ range until 3 }}{{ . }}{{ end }}{{ .Release.Name }}{{ .Files.Get .Values.a }}", {"a"}),
        ("{{ range $i, $e := list .Values.a .Values.b }}{{ $e.c }}{{ end }}", {"a", "b", "a.c", "b.c"}),
        ('{{ pluck "x" .Values.a .Values.b | first }}', {"a", "b", "a.x", "b.x"}),
        ('{{ (merge (dict "Values" .Values.sub) .).Values.x }}', {"sub", "sub.x", "x"}),
        ('{{ .Capabilities.APIVersions.Has "v1" }}', set()),
        ("{{ $root := . }}{{ range .Values.a }}{{ $root.Values.b }}{{ end }}", {"a", "b"}),
        ("{{ if\n  .Values.a\n}}{{ end }}", {"a"}),
        ("{{ .Values.a }}{{- if eq (int .Values.b) -1}}{{ end }}", {"a", "b"}),
    ],
)
def test_a_value_is_followed_to_where_it_is_read(text: str, paths: set[str]) -> None:
    assert read(text) == paths


def marks(text: str, path: str) -> set[str]:
    reader = Reader()
    reader.read(parse(text))
    return reader.marks[tuple(path.split("."))]


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("{{ toYaml .Values.a | nindent 2 }}", "whole"),
        ("{{ with .Values.a }}{{ toYaml . }}{{ end }}", "whole"),
        ('{{ include "x" . }}{{ define "x" }}{{ $c := dict "y" .Values.a }}{{ toJson $c.y }}{{ end }}', "whole"),
        ("{{ tpl .Values.a . }}", "template"),
        ('{{ tpl (printf "%s-x" .Values.a) $ }}', "template"),
        ("{{ range $k, $v := .Values.a }}{{ end }}", "keys"),
        ("{{ range .Values.a }}{{ end }}", "list"),
        ("{{ default 10 .Values.a }}", "number"),
        ("{{ .Values.a | int64 }}", "number"),
        ('{{ default "x" .Values.a }}', "text"),
        ('{{ ternary "x" "y" .Values.a }}', "switch"),
        ("{{ .Values.a | quote }}", "text"),
    ],
)
def test_how_a_value_is_used_is_known(text: str, how: str) -> None:
    assert how in marks(text, "a")


def test_a_checksum_of_everything_reads_nothing() -> None:
    assert read("{{ toYaml .Values | sha256sum }}") == set()
    assert read("{{ toYaml .Values.a }}") == {"a"}


def test_all_values_handed_on_are_read_whole() -> None:
    reader = Reader()
    reader.read(parse("{{ toJson .Values }}"))
    assert reader.marks == {(): {"read", "whole"}}


@pytest.mark.parametrize(
    "text",
    [
        "{{ if .Values.a }}",
        "{{ end }}",
        "{{ .Values.a",
        '{{ "a }}',
        "{{ (.Values.a }}",
        "{{ ) }}",
        "{{ range .a }}{{ else }}",
    ],
)
def test_what_helm_would_refuse_is_no_template(text: str) -> None:
    with pytest.raises(NotATemplateError):
        parse(text)


def test_an_error_names_its_line() -> None:
    with pytest.raises(NotATemplateError) as refused:
        parse("a\nb\n{{ if .Values.a }}\nc")
    assert refused.value.line == 3


def test_templates_that_include_each_other_come_to_an_end() -> None:
    one = '{{ define "a" }}{{ include "b" (dict "in" .) }}{{ end }}'
    other = '{{ define "b" }}{{ include "a" (dict "in" .) }}{{ end }}'
    circle = one + other
    assert read(circle + '{{ include "a" .Values.x }}') == {"x"}
    wide = "".join(
        f'{{{{ define "t{number}" }}}}'
        + f'{{{{ include "t{number + 1}" (dict "a" . "n" .Values.a) }}}}' * 6
        + "{{ end }}"
        for number in range(12)
    )
    reader = Reader()
    reader.read(parse(wide + '{{ include "t0" . }}'))
    assert reader._visited <= MOST_NODES + 1
