#!/bin/sh
# before-packages.sh TREE: what must be there before Debian's packages of PostgreSQL are configured.
set -eu
# User and group 26 are those that PGO's pods run as, instead of numbers that the package would choose. Debian's group 26
# is that of tape drives.
sed -i /^tape:/d "$1/etc/group"
echo 'postgres:x:26:' >>"$1/etc/group"
echo 'postgres:*:26:26:PostgreSQL:/var/lib/postgresql:/bin/bash' >>"$1/etc/passwd"
# A cluster made now would be everybody's, with one system identifier.
mkdir -p "$1/etc/postgresql-common"
echo 'create_main_cluster = false' >"$1/etc/postgresql-common/createcluster.conf"
