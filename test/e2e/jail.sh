#!/bin/sh
# jail.sh BUSYBOX WORK TOOLS COMMAND...
# Runs COMMAND as the only one in the namespaces that jail.ts has just made: network, processes, mounts.
# It sees loopback and nothing else, and what it or its daemons write below /etc, /opt, /run and /var is gone afterwards.
set -e
busybox=$1 work=$2 tools=$3 here=$PWD
shift 3

"$busybox" ip link set lo up

# containerd and Docker need a real file system below them; where the machine's own is an overlay, memory has to do.
case $(stat -f -c %T "$work") in overlay*) mount -t tmpfs -o size=4g,mode=755 jail "$work" ;; esac

# These three folders stay as they are, also below a folder that is covered: they are held open meanwhile.
exec 3<"$here" 4<"$work" 5<"$tools"
mount -t tmpfs -o mode=755 jail /run
for covered in etc opt var; do
  upper=/run/jail/$covered/upper overlay_work=/run/jail/$covered/work
  mkdir -p "$upper" "$overlay_work"
  mount -t overlay -o "lowerdir=/$covered,upperdir=$upper,workdir=$overlay_work" jail "/$covered"
done
keep() {
  mkdir -p "$2"
  mount --no-canonicalize --bind "/proc/self/fd/$1" "$2"
}
keep 3 "$here"
keep 4 "$work"
keep 5 "$tools"
exec 3<&- 4<&- 5<&-
cd "$here"

# Not exec: the first process of a namespace inherits orphans, and a shell buries them.
set +e
"$@"
exit $?
