#!/usr/bin/env bash
# tree.sh FILE: the file system of the PostgreSQL image as a tar, from the package sources that this machine uses.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../../local/progress.sh"

suite=bookworm
packages=postgresql-15,postgresql-plpython3-15,pgbackrest

# Documentation, translations, and what only compilers and PL/Perl's Unicode collation read. LLVM is a third of it all:
# without llvmjit.so PostgreSQL does not compile queries to machine code, which short queries never are.
excluded=(
  '/usr/share/doc/*' '/usr/share/man/*' '/usr/share/info/*' '/usr/share/locale/*' '/usr/share/i18n/*'
  '/usr/lib/x86_64-linux-gnu/perl/*/CORE/*'
  '/usr/lib/postgresql/15/lib/llvmjit*' '/usr/lib/postgresql/15/lib/bitcode/*'
  '/usr/lib/x86_64-linux-gnu/libLLVM*' '/usr/lib/x86_64-linux-gnu/libz3*'
)

# User and group 26 are those that PGO's pods run as. They are there before the package would make its own.
# A cluster made while packages are installed would be everybody's, with one system identifier.
prepare='
set -e
echo "postgres:x:26:26:PostgreSQL:/var/lib/postgresql:/bin/bash" >>"$1/etc/passwd"
echo "postgres:!:19000::::::" >>"$1/etc/shadow"
echo "postgres:x:26:" >>"$1/etc/group"
echo "postgres:!::" >>"$1/etc/gshadow"
mkdir -p "$1/etc/postgresql-common"
echo "create_main_cluster = false" >"$1/etc/postgresql-common/createcluster.conf"
'
# The key that the package of certificates makes is the same in every pod: nothing may use it.
clean='
set -e
rm -rf "$1"/var/cache/debconf/* "$1"/var/lib/dpkg/info/*.md5sums "$1"/var/log/* "$1"/etc/ssl/private/ssl-cert-snakeoil.key
chroot "$1" /usr/lib/postgresql/15/bin/postgres --version
chroot "$1" pgbackrest version
'

options=()
for path in "${excluded[@]}"; do
  options+=(--dpkgopt="path-exclude=$path")
done
sources=$(apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 'Origin: Debian' |
  awk -v suite="$suite" '$3 ~ "^" suite "(-|$)"' | sort -u)
[[ -n $sources ]] || fail "apt has no package lists of Debian $suite on this machine; run apt-get update, on a Debian 12"

say "installing $packages into a new tree; about two minutes"
mmdebstrap --mode=root --variant=essential --include="$packages" "${options[@]}" \
  --essential-hook="$prepare" --customize-hook="$clean" "$suite" "$1" - <<<"$sources"
