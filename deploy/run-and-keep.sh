#!/bin/sh
# One run inside of the cluster: its reports go to a folder of their own below /reports, are compared with those of the run
# before, and the oldest are removed. deploy/job.yaml and cronjob.yaml mount it; docs/deploy.md explains it.
set -eu
reports=${PREFLIGHT_REPORTS:-/reports} inventory=${PREFLIGHT_INVENTORY:-/etc/preflight/inventory.yaml}

set -- "$reports"/[0-9]*-*/ # in the order of their time; what begins now is one more
while [ -d "$1" ] && [ $# -ge "${PREFLIGHT_KEEP:-30}" ]; do
  rm -r -- "$1"
  [ $# -gt 1 ] || break
  shift
done
last=
for folder in "$@"; do
  if [ -f "${folder}preflight.json" ]; then last=${folder}preflight.json; fi
done

set -- --inventory "$inventory" --effect "${PREFLIGHT_EFFECT:-read}"
set -- "$@" --report-dir "$reports/$(date -u +%Y%m%dT%H%M%SZ)-$(uname -n)"
if [ -n "$last" ]; then set -- "$@" --baseline "$last"; fi
# shellcheck disable=SC2086 # options, split at blanks
exec preflight run "$@" ${PREFLIGHT_OPTIONS:-} # in this process's place, so that SIGTERM reaches it
