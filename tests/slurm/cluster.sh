#!/usr/bin/env bash
# A real SLURM of one node without systemd, as root on Debian: cluster.sh start|stop FOLDER
# Everything of it but munge lies in FOLDER, and links to it in /etc/slurm: jobs lose SLURM_CONF.
# A SLURM that is already there is left alone: nothing is started, and nothing of it is stopped.
set -eEuo pipefail
here=$(cd "$(dirname "$0")" && pwd)
lab=$2
etc=/etc/slurm
unset SLURM_CONF

refuse() {
    echo "$1; the test cluster is not started beside it" >&2
    exit 1
}

start() {
    for name in slurm.conf gres.conf; do
        if [ -e $etc/$name ] || [ -L $etc/$name ]; then
            refuse "this machine has a SLURM of its own ($etc/$name)"
        fi
    done
    if timeout 10 scontrol ping >/dev/null 2>&1; then
        refuse "this machine belongs to a cluster (scontrol ping answers)"
    fi
    trap 'stop' ERR
    mkdir -p "$lab/state" "$lab/spool" $etc
    for i in 0 1; do # as /dev/null; SLURM counts GPUs by their device files
        [ -e "/dev/fakegpu$i" ] || mknod -m 666 "/dev/fakegpu$i" c 1 3
    done
    local host memory
    host=$(hostname -s)
    memory=$(($(free -m | awk '/^Mem:/ {print $2}') * 9 / 10))
    sed -e "s|LAB|$lab|g; s|HOST|$host|g; s|MEMORY|$memory|g" "$here/slurm.conf" >"$lab/slurm.conf"
    echo "NodeName=$host Name=gpu Type=fake File=/dev/fakegpu[0-1]" >"$lab/gres.conf"
    ln -s "$lab/slurm.conf" "$lab/gres.conf" $etc/
    if ! munge -n >/dev/null 2>&1; then
        install -d -o munge -g munge -m 0755 /run/munge
        runuser -u munge -- /usr/sbin/munged
        touch "$lab/munged"
    fi
    for _ in $(seq 50); do munge -n >/dev/null 2>&1 && break || sleep 0.1; done
    slurmctld -c
    slurmd
    for _ in $(seq 100); do # idle once the node has told the scheduler of its GPUs
        sinfo --noheader -o %T 2>/dev/null | grep -q idle && exit 0 || sleep 0.2
    done
    sinfo || true
    echo "the test cluster did not start; see $lab/slurmctld.log and $lab/slurmd.log" >&2
    stop
    exit 1
}

stop() {
    if [ "$(readlink $etc/slurm.conf)" = "$lab/slurm.conf" ]; then
        scancel --full --user "$(id -un)" 2>/dev/null || true
        for daemon in slurmd slurmctld; do
            [ -s "$lab/$daemon.pid" ] && kill "$(cat "$lab/$daemon.pid")" 2>/dev/null || true
        done
        rm -f $etc/slurm.conf $etc/gres.conf /dev/fakegpu0 /dev/fakegpu1
    fi
    if [ -e "$lab/munged" ] && [ -s /run/munge/munged.pid ]; then
        kill "$(cat /run/munge/munged.pid)" 2>/dev/null || true
    fi
}

"$1"
