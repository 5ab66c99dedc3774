#!/bin/sh
# What is measured on a node or in a pod: functions only; shell.py appends a plan of the steps to take, and
# shell_sections.py reads back what they printed.
#
# It runs under dash, bash and busybox ash, needs no tool beyond what alpine and a plain Linux node have, writes no file
# (a pod's root file system may be read-only), and reads nothing from standard input, which may be the script itself.
# Every step has a time limit. Steps that do not depend on each other run side by side as the stages of a pipeline that
# carries nothing: each holds its own output back until the one before it has ended, so that sections never mix.
#
# Every line of the script's own begins with $nonce, which nothing that it talks to can know. A step reports about itself
# through descriptor 3, its output goes through descriptor 4, and the sections of a pipeline through descriptor 7; 8 keeps
# a pipeline open as long as its first stage lasts.
#
# A process takes a while where a pod has little CPU, so that none is started which the shell itself can do without.
#
# The plan before it sets nonce.
: "${nonce:?}"
LC_ALL=C
export LC_ALL
unset http_proxy https_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY
most=65536 # bytes of a step's output
silent=
daemon=untried
unpulled=

have() {
  command -v "$1" >/dev/null 2>&1
}

note() {
  echo "$nonce $*" >&3
}

lacks() { # TOOLS: none of these is installed
  note lacks "$*"
  return 127
}

read_time() { # seconds since some moment, in $moment; without a process where /proc is
  if [ -r /proc/uptime ]; then
    read -r moment _ </proc/uptime
  else
    moment=$(date +%s)
  fi
}

find_lacking() { # what every step needs: where that is missing nothing is tried, so that it is not mistaken for a fault
  lacking=
  for tool in tr head cat; do
    have "$tool" || lacking=$tool
  done
  have timeout || have sleep || lacking='timeout, sleep'
}

choose_timer() {
  timer=own
  have timeout || return 0
  if timeout -k 1 1 sh -c :; then
    timer=hard
  elif timeout 1 sh -c :; then
    timer=plain
  elif timeout -t 1 sh -c :; then # busybox before 1.30
    timer=old
  fi
} >/dev/null 2>&1

limited() { # SECONDS COMMAND…: end the command when its time is over
  seconds=$1
  shift
  case $timer in
    hard) timeout -k 1 "$seconds" "$@" 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- ;;
    plain) timeout "$seconds" "$@" 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- ;;
    old) timeout -t "$seconds" "$@" 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- ;;
    *) guarded "$seconds" "$@" 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- ;;
  esac
}

guarded() { # what timeout(1) does, where there is none
  shift
  "$@" &
  command=$!
  {
    while [ "$seconds" -gt 0 ] && kill -0 "$command"; do
      sleep 1
      seconds=$((seconds - 1))
    done
    kill "$command" && sleep 1 && kill -9 "$command"
  } </dev/null >/dev/null 2>&1 &
  guard=$!
  wait "$command"
  status=$?
  kill "$guard" 2>/dev/null
  wait "$guard" 2>/dev/null
  return "$status"
}

choose_lookup_tool() { # nslookup comes in three kinds
  lookup_tool=
  if have nslookup; then
    case $(limited 2 nslookup --help </dev/null 2>&1) in
      *BusyBox*-type*) lookup_tool=busybox ;;
      *BusyBox*) lookup_tool=old ;; # before 1.30: no options at all
      *) lookup_tool=bind ;;
    esac
  elif have dig; then
    lookup_tool=dig
  elif have getent; then
    lookup_tool=getent
  fi
}

choose_port_tool() { # nc comes in three kinds, too
  port_tool=
  if have bash; then
    port_tool=bash
  elif have nc; then
    case $(limited 2 nc -h 2>&1 </dev/null) in
      *BusyBox*-z*) port_tool=busybox ;;
      *BusyBox*) port_tool=old ;; # -z is not in every build
      *) port_tool=nc ;;
    esac
  fi
}

choose_web_tool() {
  web_tool=
  if have curl; then
    web_tool=curl
  elif have wget; then
    case $(wget --version 2>/dev/null) in
      *GNU*) web_tool=wget ;;
      *) web_tool=busybox ;;
    esac
  fi
}

find_silent() { # LIMIT NAME ADDRESS,[PORT]…: in $silent, the resolvers that answer nothing for so many seconds
  limit=$1 name=$2
  shift 2
  silent=$(
    for resolver; do
      {
        read_time
        started=$moment
        step_lookup "$name" "${resolver%,*}" "${resolver##*,}" >/dev/null 2>&1 3>&1
        read_time
        ! took "$limit" || echo "$resolver"
      } &
    done
    wait
  )
}

# ---- steps ---------------------------------------------------------------------------------------------------------------

step_lookup() { # NAME [SERVER [PORT]]
  case "
$silent
" in
    *"
${2-},${3-}
"*) limit=1 ;; # it was waited for once
  esac
  wait_seconds=$limit
  [ -n "${2-}" ] || wait_seconds=$((limit > 3 ? limit / 3 : 1)) # resolv.conf may name three servers
  note tool "$lookup_tool"
  case $lookup_tool in
    busybox)
      limited "$((limit + 1))" nslookup -type=a "-timeout=$wait_seconds" -retry=1 ${3:+"-port=$3"} "$1" ${2:+"$2"}
      ;;
    bind)
      limited "$((limit + 1))" nslookup -type=a "-timeout=$wait_seconds" -retry=0 ${3:+"-port=$3"} "$1" ${2:+"$2"}
      ;;
    old)
      limited "$limit" nslookup "$1" ${2:+"$2"}
      ;;
    dig)
      limited "$((limit + 1))" dig "+time=$wait_seconds" +tries=1 ${3:+-p "$3"} ${2:+"@$2"} "$1" A
      ;;
    getent)
      if [ -n "${2-}" ]; then
        lacks nslookup, dig # getent cannot query a particular server
      else
        limited "$limit" getent ahostsv4 "$1"
      fi
      ;;
    *)
      lacks nslookup, dig, getent
      ;;
  esac
}

step_resolve() { # NAME: as a program finds it; musl's getent knows no ahostsv4
  if have getent; then
    note tool getent
    limited "$limit" getent ahostsv4 "$1" 2>/dev/null || limited "$limit" getent hosts "$1"
  else
    lacks getent
  fi
}

step_fetch() { # URL: header and beginning of the body, then the tool's standard error
  wait_seconds=$((limit + 1))
  case $web_tool in
    curl)
      split_url "$1"
      find_late_address "$host"
      set -- curl -q -s -S -v -i -m "$limit" --noproxy '*' --proto =http,https \
        ${address:+--resolve "$host:$port:$address"} -- "$1"
      ;;
    wget)
      set -- wget -S -O - --no-config --no-proxy --tries=1 --max-redirect=0 --content-on-error "--timeout=$limit" -- "$1"
      ;;
    busybox) # it waits for ever; its own -T is missing or broken in places
      set -- wget -S -O - -q -- "$1"
      wait_seconds=$limit
      ;;
    *)
      lacks curl, wget
      return
      ;;
  esac
  note tool "$1"
  {
    stderr=$(
      {
        {
          limited "$wait_seconds" "$@" 2>&5
          note exit "$?" # the first exit status counts
        } | head -c "$((most - 5536))" >&6
      } 5>&1
    )
  } 6>&1
  ! have date || note clock "$(date +%s)"
  printf '\n%s stderr\n%s\n' "$nonce" "$stderr"
}

note_port_tool() {
  case $port_tool in
    '') lacks bash, nc ;;
    bash) note tool bash ;;
    *) note tool nc ;;
  esac
}

step_tcp() { # HOST PORT
  note_port_tool || return
  find_late_address "$1"
  set -- "${address:-$1}" "$2"
  case $port_tool in
    bash)
      # shellcheck disable=SC2016 # expanded by that bash
      limited "$limit" bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2"
      ;;
    nc) limited "$((limit + 1))" nc -z -v -w "$limit" "$1" "$2" ;;
    *) limited "$((limit + 1))" nc -w "$limit" "$1" "$2" ;;
  esac
}

sampled() { # FEW MANY COMMAND…: begin, end and status of a command, again and again: MANY times if it was slow or failed
  wanted=$1 many=$2 taken=0 answered=
  shift 2
  read_time
  ends=$((${moment%.*} + limit))
  while [ "$taken" -lt "$wanted" ]; do
    read_time
    started=$moment
    limited 2 "$@" >/dev/null 2>&1
    status=$?
    read_time
    echo "$started $moment $status"
    taken=$((taken + 1))
    [ "$status" -ne 0 ] || answered=yes
    if [ "$status" -ne 0 ] || took_long; then
      wanted=$many
    fi
    [ "$taken" -ne 3 ] || [ -n "$answered" ] || break # nobody answers there
    [ "${moment%.*}" -lt "$ends" ] || break
  done
}

first_address() { # NAME: as a program finds it, although two resolvers before the one that answers do not
  have getent || return
  seconds_for_names=$((limit * 3))
  {
    limited "$seconds_for_names" getent ahostsv4 "$1" 2>/dev/null ||
      limited "$seconds_for_names" getent hosts "$1" 2>/dev/null
  } | {
    read -r address _
    echo "$address"
  }
}

find_late_address() { # HOST: in $address, if finding it takes long: the time of a step is for the host, not for resolvers
  address=
  case $1 in
    *:*) return ;;
    *[!0-9.]*) ;;
    *) return ;;
  esac
  read_time
  started=$moment
  late=$(first_address "$1")
  read_time
  ! took_long || address=$late
}

split_url() { # URL: its $host and $port
  authority=${1#*://}
  authority=${authority%%[/?#]*}
  authority=${authority##*@}
  host=$authority port=80
  case $1 in https:*) port=443 ;; esac
  case $authority in
    \[*) ;; # an address
    *:*) host=${authority%:*} port=${authority##*:} ;;
  esac
}

took_long() { # whether it is 0.9 s from $started to $moment
  case $moment in
    *.*) took 1 ;;
    *) took 2 ;; # whole seconds
  esac
}

took() { # SECONDS: whether it is so long, less a tenth, from $started to $moment
  case $moment in
    *.*) [ "$((${moment%.*}${moment#*.} - ${started%.*}${started#*.}))" -ge "$(($1 * 100 - 10))" ] ;;
    *) [ "$((moment - started))" -ge "$1" ] ;;
  esac
}

step_connects() { # FEW MANY HOST PORT
  few=$1 many=$2
  shift 2
  case $1 in
    *:*) ;;
    *[!0-9.]*) # the samples are to show the way, and not how long resolvers take
      address=$(first_address "$1")
      [ -n "$address" ] || return
      set -- "$address" "$2"
      ;;
  esac
  note_port_tool || return
  case $port_tool in
    bash)
      # One process for all of them, since on a busy machine it takes long to start one.
      # shellcheck disable=SC2016 # expanded by that bash
      limited "$limit" bash -c '
        taken=0 answered= wanted=$0
        while [ "$taken" -lt "$wanted" ]; do
          read -r started _ </proc/uptime
          if { exec 3<>"/dev/tcp/$2/$3"; } 2>/dev/null; then
            status=0 answered=yes
            exec 3>&-
          else
            status=1 wanted=$1
          fi
          read -r ended _ </proc/uptime
          echo "$started $ended $status"
          taken=$((taken + 1))
          [ "$((${ended/./} - ${started/./}))" -lt 90 ] || wanted=$1
          [ "$taken" -ne 3 ] || [ -n "$answered" ] || break
        done' "$few" "$many" "$1" "$2"
      ;;
    old) sampled "$few" "$many" nc -w 2 "$1" "$2" ;;
    *) sampled "$few" "$many" nc -z -w 2 "$1" "$2" ;;
  esac
}

step_queries() { # FEW MANY NAME SERVER [PORT]
  few=$1 many=$2
  shift 2
  note tool "$lookup_tool"
  case $lookup_tool in
    busybox) sampled "$few" "$many" nslookup -type=a -timeout=1 -retry=1 ${3:+"-port=$3"} "$1" "$2" ;;
    bind) sampled "$few" "$many" nslookup -type=a -timeout=1 -retry=0 ${3:+"-port=$3"} "$1" "$2" ;;
    dig) sampled "$few" "$many" dig +time=1 +tries=1 ${3:+-p "$3"} "@$2" "$1" A ;;
    *) lacks nslookup, dig ;; # the others wait for longer, or can't query a particular server
  esac
}

step_resent() { # WHEN: the kernel's counters of this network, of TCP
  limited "$limit" cat /proc/net/netstat
}

step_resolv_conf() {
  limited "$limit" cat /etc/resolv.conf
}

step_clock() {
  have date || {
    lacks date
    return
  }
  date +%s.%N # busybox has no %N
  date +%s
}

step_interface() { # the device of the default route and its MTU
  device=
  if have ip; then
    device=$(limited "$limit" ip route 2>/dev/null | {
      while read -r route; do
        case $route in
          (default*' dev '*)
            route=${route#* dev }
            echo "${route%% *}"
            break
            ;;
        esac
      done
    })
  fi
  if [ -z "$device" ] && [ -r /proc/net/route ]; then
    while read -r device destination _; do
      [ "$destination" = 00000000 ] && break
      device=
    done </proc/net/route
  fi
  if [ -z "$device" ]; then
    echo 'no default route'
    return 1
  fi
  echo "$device"
  limited "$limit" cat "/sys/class/net/$device/mtu"
}

step_docker_ready() { # SECONDS
  have docker || {
    lacks docker
    return
  }
  read_time
  ends=$((${moment%.*} + $1))
  while :; do
    reply=$(limited 5 docker info 2>&1) && return 0
    read_time
    case $reply in
      *'HTTPS server'* | *'HTTP response to HTTPS client'*) break ;; # waiting fixes no wrong protocol
    esac
    [ "${moment%.*}" -lt "$ends" ] || break
    sleep 0.2 2>/dev/null || sleep 1
  done
  printf '%s' "$reply"
  return 1
}

docker_step() { # COMMAND…
  if have docker; then
    limited "$limit" docker "$@"
  else
    lacks docker
  fi
}

step_docker_version() {
  docker_step version --format '{{json .}}'
}

step_docker_info() {
  docker_step info --format '{{json .}}'
}

step_docker_pull() { # IMAGE
  docker_step pull -- "$1"
}

step_docker_run() { # IMAGE WORD…
  docker_step run --rm -- "$@"
}

step_docker_runs() { # MARK IMAGE COMMAND…: all in one container, side by side; each prints MARK NUMBER EXIT BEGIN END, its output
  mark=$1 image=$2
  shift 2
  # shellcheck disable=SC2016 # expanded in the container
  docker_step run --rm -- "$image" sh -c '
    number=0
    for command; do
      {
        read -r began _ </proc/uptime
        output=$(sh -c "$command" 2>&1)
        status=$?
        read -r ended _ </proc/uptime
        printf "\n%s %s %s %s %s\n%s\n" "$0" "$number" "$status" "${began-}" "${ended-}" "$output"
      } 2>/dev/null &
      number=$((number + 1))
    done
    wait' "$mark" "$@"
}

take_step() { # ARGUMENT…
  "step_$kind" "$@" 2>&1
  note exit "$?"
}

# ---- the row of steps ------------------------------------------------------------------------------------------------------

is_unpulled() { # ARGUMENT…: whether the container's image could not be pulled: Docker would only try, and wait, once more
  case $kind in
    docker_run) image=$1 ;;
    docker_runs) image=$2 ;;
    *) return 1 ;;
  esac
  case $unpulled in
    *"
$image
"*) ;;
    *) return 1 ;;
  esac
}

measure() { # ID LIMIT KIND ARGUMENT…: take one step and print its section
  id=$1 limit=$2 kind=$3
  shift 3
  printf '\n%s begin %s %s\n' "$nonce" "$id" "$kind"
  for argument; do
    printf '%s arg %s\n' "$nonce" "$argument"
  done
  case $daemon$kind in
    unavailabledocker_*)
      printf '%s skipped\n' "$nonce"
      return
      ;;
  esac
  if is_unpulled "$@"; then
    printf '%s skipped unpulled\n' "$nonce"
    return
  fi
  if [ -n "$lacking" ]; then
    printf '%s lacks %s\n%s exit 127\n%s end\n' "$nonce" "$lacking" "$nonce" "$nonce"
    return
  fi
  printf '%s output\n' "$nonce"
  read_time
  began=$moment
  {
    report=$({
      case $kind in
        clock | connects | interface | lookup | queries | resent | resolve) take_step "$@" >&4 ;; # short, and text
        *) take_step "$@" | head -c "$most" | tr -d '\000' >&4 ;;
      esac
    } 3>&1)
  } 4>&1
  read_time
  printf '\n%s\n%s end %s %s\n' "$report" "$nonce" "$began" "$moment"
  case $kind$report in
    docker_ready*"exit 0"*) ;;
    docker_ready*) daemon=unavailable ;;
    docker_pull*"exit 0"* | docker_pull*" lacks "*) ;;
    docker_pull*" exit "*)
      unpulled="$unpulled
$1
"
      ;;
  esac
}

behind() { # the same, as a later stage of a pipeline: the earlier stages' output goes first
  held=$(measure "$@" </dev/null)
  read -r _ # nothing, until they have ended
  printf '%s\n' "$held" >&7
}
