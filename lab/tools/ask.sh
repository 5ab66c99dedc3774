# What every stand-in is: ask the lab, do what it says (lab/tools/exchange.py). What stands before this sets ask_tool,
# ASK_LIMIT, the seconds of timeout, and ask_lab, the lab's process; $ask_variables is replaced by the variables that tools look at.
#
# It runs under dash, bash and busybox ash, and starts no program: a look from a pod starts dozens of stand-ins, and an
# interpreter takes ten times as long as a shell to start.
[ -p "${ASK_FOLDER-}/bell" ] && kill -0 "$ask_lab" 2>/dev/null || exit 127
ask_slot=0
set -C # so that a question's file is written by one of those who ask at the same time
until printf '%s\0' "$ask_tool" "$#" "$@" $ask_variables >"$ASK_FOLDER/question-$ask_slot"; do
  ask_slot=$((ask_slot + 1))
  [ -p "$ASK_FOLDER/answer-$ask_slot" ] || ask_slot=0 # all are taken until the lab has made more
  [ -p "$ASK_FOLDER/bell" ] || exit 127
done 2>/dev/null
set +C
exec 9<>"$ASK_FOLDER/answer-$ask_slot" # without waiting for somebody who writes
echo "$ask_slot" >"$ASK_FOLDER/bell"
read -r ask_part <&9 # the lab has it open …
exec 9<"$ASK_FOLDER/answer-$ask_slot" # … and from here on, this ends where the lab ends
while read -r ask_part <&9; do
  . "$ASK_FOLDER/$ask_part"
done
exit 1
