#!/bin/sh
# after-packages.sh TREE: removes what only the installation needed, and shows that the programs run.
set -eu
rm -rf "$1"/var/cache/debconf/* "$1"/var/lib/dpkg/info/*.md5sums "$1"/var/log/*
# A key that is the same in every pod: nothing may use it.
rm -f "$1/etc/ssl/private/ssl-cert-snakeoil.key"
chroot "$1" /usr/lib/postgresql/15/bin/postgres --version
chroot "$1" pgbackrest version
