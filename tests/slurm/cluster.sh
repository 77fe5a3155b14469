#!/usr/bin/env bash
# A SLURM cluster on this machine, for tests: cluster.sh start|stop|status
# Needs root and Debian's slurmctld slurmd slurmdbd slurm-client munge mariadb-server. Everything lies
# below $ROOT but the configuration: the workflow's job steps find it only in /etc/slurm.
set -euo pipefail
ROOT=${SLURM_ROOT:-/tmp/tacolab-slurm}
HOST=$(hostname -s)
GPU_NODES="g1 g2 g3 g4 g5 g6"
PLUGINS=$(dirname "$(find /usr/lib -name accounting_storage_slurmdbd.so | head -1)")
unset SLURM_CONF

wait_for() {  # seconds, command: until it succeeds
  local tries=$(($1 * 10)); shift
  for _ in $(seq "$tries"); do "$@" >/dev/null 2>&1 && return 0; sleep 0.1; done
  echo "cluster.sh: this did not succeed: $*" >&2
  return 1
}

alive() { [ -s "$ROOT/pid/$1" ] && kill -0 "$(cat "$ROOT/pid/$1")" 2>/dev/null; }

daemon() {  # name, command: in a session of its own
  local name=$1; shift
  alive "$name" && return 0
  setsid "$@" >>"$ROOT/log/$name.out" 2>&1 </dev/null &
  echo $! >"$ROOT/pid/$name"
}

end() {
  alive "$1" || return 0
  local pid; pid=$(cat "$ROOT/pid/$1")
  kill "$pid" 2>/dev/null || true
  for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || return 0; sleep 0.1; done
  kill -KILL "$pid" 2>/dev/null || true
}

node() {  # name, port, CPUs, more
  echo "NodeName=$1 NodeHostname=$HOST NodeAddr=127.0.0.1 Port=$2 CPUs=$3 SocketsPerBoard=1" \
    "CoresPerSocket=$3 ThreadsPerCore=1 RealMemory=16000 ${4:-} State=UNKNOWN"
}

configure() {
  mkdir -p "$ROOT"/{etc,log,pid,state,spool,sql,munge} /etc/slurm
  chmod 755 "$ROOT" "$ROOT/munge"
  if [ ! -s "$ROOT/etc/munge.key" ]; then
    (umask 077; head -c 1024 /dev/urandom >"$ROOT/etc/munge.key")
  fi
  {
    cat <<X
ClusterName=test
SlurmctldHost=$HOST(127.0.0.1)
SlurmctldPort=16817
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A job that is queued again waits until its credential has expired: 120 s by default.
AuthInfo=socket=$ROOT/munge/socket,cred_expire=10
CredType=cred/munge
PluginDir=$PLUGINS
SlurmctldPidFile=$ROOT/pid/slurmctld.own
SlurmdPidFile=$ROOT/pid/slurmd.%n.own
StateSaveLocation=$ROOT/state
SlurmdSpoolDir=$ROOT/spool/%n
SlurmctldLogFile=$ROOT/log/slurmctld.log
SlurmdLogFile=$ROOT/log/slurmd.%n.log
SlurmdParameters=config_overrides
# No systemd, no cgroups. linuxproc would lose processes and let two trainers live.
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=5,bf_interval=5
GresTypes=gpu
ReturnToService=2
KillWait=5
SlurmdTimeout=60
JobRequeue=1
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=16819
AccountingStoragePass=$ROOT/munge/socket
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment
X
    port=16820
    for name in $GPU_NODES; do port=$((port + 1)); node "$name" $port 4 Gres=gpu:v100:1; done
    node g7 16830 4 Gres=gpu:v100:2
    node c1 16831 16
    # Scenarios set the time limits of their jobs; this partition's is too short for any of them.
    echo "PartitionName=gpu Nodes=${GPU_NODES// /,},g7 MaxTime=2 DefaultTime=1 State=UP"
    echo "PartitionName=long Nodes=${GPU_NODES// /,},g7 MaxTime=30 DefaultTime=1 State=UP"
    echo "PartitionName=cpu Nodes=c1 MaxTime=60 DefaultTime=10 Default=YES State=UP"
  } >"$ROOT/etc/slurm.conf"
  {
    for name in $GPU_NODES; do echo "NodeName=$name Name=gpu Type=v100 File=/dev/null"; done
    for file in null zero; do echo "NodeName=g7 Name=gpu Type=v100 File=/dev/$file"; done
  } >"$ROOT/etc/gres.conf"
  echo "CgroupPlugin=cgroup/v1" >"$ROOT/etc/cgroup.conf"
  cat >"$ROOT/etc/slurmdbd.conf" <<X
AuthType=auth/munge
AuthInfo=socket=$ROOT/munge/socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=16819
SlurmUser=root
PidFile=$ROOT/pid/slurmdbd.own
LogFile=$ROOT/log/slurmdbd.log
PluginDir=$PLUGINS
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=33306
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm
X
  chmod 600 "$ROOT/etc/slurmdbd.conf"
  for name in slurm gres cgroup slurmdbd; do
    ln -sfn "$ROOT/etc/$name.conf" "/etc/slurm/$name.conf"
  done
}

start() {
  configure
  daemon munged munged -F --force --key-file="$ROOT/etc/munge.key" --socket="$ROOT/munge/socket" \
    --pid-file="$ROOT/pid/munged.own" --log-file="$ROOT/log/munged.log" --seed-file="$ROOT/munge/seed"
  wait_for 20 sh -c "munge -n --socket='$ROOT/munge/socket' | unmunge --socket='$ROOT/munge/socket'"
  chown -R mysql "$ROOT/sql"
  if [ ! -d "$ROOT/sql/mysql" ]; then
    mariadb-install-db --user=mysql --datadir="$ROOT/sql" --skip-test-db \
      --auth-root-authentication-method=socket >"$ROOT/log/sql-install.out" 2>&1
  fi
  daemon sql mariadbd --no-defaults --user=mysql --datadir="$ROOT/sql" --bind-address=127.0.0.1 \
    --port=33306 --socket="$ROOT/sql/socket" --pid-file="$ROOT/sql/pid" --skip-log-bin \
    --innodb-buffer-pool-size=64M --innodb-lock-wait-timeout=900 --innodb-flush-log-at-trx-commit=0
  sql="mariadb --no-defaults --socket=$ROOT/sql/socket"
  wait_for 60 $sql -e "select 1"
  $sql -e "create database if not exists slurm;
    create user if not exists slurm@localhost identified by 'slurm';
    create user if not exists slurm@'127.0.0.1' identified by 'slurm';
    grant all on slurm.* to slurm@localhost; grant all on slurm.* to slurm@'127.0.0.1';"
  daemon slurmdbd slurmdbd -D
  wait_for 60 sacctmgr -n list cluster
  sacctmgr -n list cluster format=cluster | grep -q test || sacctmgr -i add cluster test >/dev/null
  daemon slurmctld slurmctld -D
  wait_for 60 scontrol ping
  for name in $GPU_NODES g7 c1; do
    mkdir -p "$ROOT/spool/$name"
    daemon "slurmd.$name" slurmd -D -N "$name"
  done
  wait_for 60 sh -c "[ \$(sinfo -h -N -t idle,mixed,alloc -o %N | sort -u | wc -l) -eq 8 ]"
}

stop() {
  if alive slurmctld; then timeout 20 scancel --user=root || true; sleep 1; fi
  for name in $GPU_NODES g7 c1; do end "slurmd.$name"; done
  for name in slurmctld slurmdbd sql munged; do end "$name"; done
  rm -rf "$ROOT"
}

case "${1:-}" in
  start) start ;;
  stop) stop ;;
  status) sinfo -N -l; squeue ;;
  *) echo "usage: $0 start|stop|status" >&2; exit 2 ;;
esac
