#!/usr/bin/env bash
# A real SLURM of one node without systemd, as root on Debian: cluster.sh start|stop FOLDER
# Everything of it but munge lies in FOLDER, and links to it in /etc/slurm: jobs lose SLURM_CONF.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
lab=$2
etc=/etc/slurm

start() {
    if [ -e $etc/slurm.conf ] && [ ! -L $etc/slurm.conf ]; then
        echo "this machine has a SLURM of its own ($etc/slurm.conf), which is left alone" >&2
        exit 1
    fi
    mkdir -p "$lab/state" "$lab/spool" $etc /run/munge
    for i in 0 1; do # as /dev/null; SLURM counts GPUs by their device files
        [ -e "/dev/fakegpu$i" ] || mknod -m 666 "/dev/fakegpu$i" c 1 3
    done
    local host memory
    host=$(hostname -s)
    memory=$(($(free -m | awk '/^Mem:/ {print $2}') * 9 / 10))
    sed -e "s|LAB|$lab|g; s|HOST|$host|g; s|MEMORY|$memory|g" "$here/slurm.conf" >"$lab/slurm.conf"
    echo "NodeName=$host Name=gpu Type=fake File=/dev/fakegpu[0-1]" >"$lab/gres.conf"
    ln -sf "$lab/slurm.conf" "$lab/gres.conf" $etc/
    chown -R munge:munge /run/munge /var/log/munge /var/lib/munge /etc/munge
    chmod 0755 /run/munge
    munge -n >/dev/null 2>&1 || runuser -u munge -- /usr/sbin/munged
    for _ in $(seq 50); do munge -n >/dev/null 2>&1 && break || sleep 0.1; done
    slurmctld -c
    slurmd
    for _ in $(seq 100); do # idle once the node has told the scheduler of its GPUs
        sinfo --noheader -o %T 2>/dev/null | grep -q idle && exit 0 || sleep 0.2
    done
    sinfo
    echo "the test cluster did not start; see $lab/slurmctld.log and $lab/slurmd.log" >&2
    exit 1
}

stop() {
    scancel --full --user "$(id -un)" 2>/dev/null || true
    for daemon in slurmd slurmctld; do
        [ -s "$lab/$daemon.pid" ] && kill "$(cat "$lab/$daemon.pid")" 2>/dev/null || true
    done
    rm -f $etc/slurm.conf $etc/gres.conf
    [ -s /run/munge/munged.pid ] && kill "$(cat /run/munge/munged.pid)" 2>/dev/null || true
}

"$1"
