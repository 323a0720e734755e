#!/usr/bin/env bash
# tree.sh FILE [PACKAGE...]: the file system of the PostgreSQL image as a tar, with these packages besides, from the package
# sources that this machine uses.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../../local/progress.sh"

file=$1
shift
suite=bookworm
packages=$(IFS=, && echo "postgresql-15,postgresql-plpython3-15,pgbackrest${*:+,$*}")

# Documentation, translations, and what only compilers and PL/Perl's Unicode collation read. LLVM is a third of it all:
# without llvmjit.so PostgreSQL does not compile queries to machine code, which short queries never are.
excluded=(
  '/usr/share/doc/*' '/usr/share/man/*' '/usr/share/info/*' '/usr/share/locale/*' '/usr/share/i18n/*'
  '/usr/lib/x86_64-linux-gnu/perl/*/CORE/*'
  '/usr/lib/postgresql/15/lib/llvmjit*' '/usr/lib/postgresql/15/lib/bitcode/*'
  '/usr/lib/x86_64-linux-gnu/libLLVM*' '/usr/lib/x86_64-linux-gnu/libz3*'
)

options=()
for path in "${excluded[@]}"; do
  options+=(--dpkgopt="path-exclude=$path")
done
# What apt knows of Debian's own packages for this suite, as lines of a sources.list.
known_sources() {
  # shellcheck disable=SC2016 # apt-get fills these in
  apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 'Origin: Debian' |
    awk -v suite="$suite" '$3 ~ "^" suite "(-|$)"' | sort -u
}
sources=$(known_sources)
if [[ -z $sources ]]; then
  apt-get update -q
  sources=$(known_sources)
fi
[[ -n $sources ]] || fail "apt on this machine has no sources of Debian $suite; the image is built from them, on a Debian 12"

say "installing $packages into a new tree; about two minutes"
mmdebstrap --mode=root --variant=essential --include="$packages" "${options[@]}" \
  --essential-hook="$here/before-packages.sh" --customize-hook="$here/after-packages.sh" "$suite" "$file" - <<<"$sources"
