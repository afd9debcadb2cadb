#!/bin/sh
# Builds crossfade from this folder and installs it.
set -eu

usage() {
    cat <<'EOF'
usage: ./install.sh [--prefix DIR] [--demo]
       ./install.sh --needs

  --prefix DIR   install as DIR/bin/crossfade (default: /usr/local as root, else ~/.local)
  --demo         then run `crossfade demo` in the present folder and return its exit status
  --needs        only check what the build needs (as root on Debian: install it)
EOF
}

say() { printf '%s\n' "$*" >&2; }
stop() { say "install.sh: $*"; exit 2; }

prefix=''
demo=false
needs=false
while [ $# -gt 0 ]; do
    case $1 in
        --prefix)
            [ -n "${2:-}" ] || stop '--prefix needs a folder'
            prefix=$2
            shift
            ;;
        --prefix=?*) prefix=${1#--prefix=} ;;
        --demo) demo=true ;;
        --needs) needs=true ;;
        -h | --help) usage; exit 0 ;;
        *) say "install.sh: unknown argument $1"; usage >&2; exit 2 ;;
    esac
    shift
done

root=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
uid=$(id -u)
if [ -z "$prefix" ]; then
    if [ "$uid" = 0 ]; then prefix=/usr/local; else prefix=$HOME/.local; fi
fi
case $prefix in /*) ;; *) prefix=$PWD/$prefix ;; esac

have() { command -v "$1" >/dev/null 2>&1; }

# What a compiler, or a library's header, is called where apt knows it.
packages=''
have cc || packages="$packages gcc libc6-dev"
have c++ || packages="$packages g++"
have make || packages="$packages make"
have perl || packages="$packages perl"
have pkg-config || packages="$packages pkg-config"
pkg-config --exists openssl 2>/dev/null || packages="$packages libssl-dev"
pkg-config --exists zlib 2>/dev/null || packages="$packages zlib1g-dev"
if [ -n "$packages" ]; then
    if [ "$uid" = 0 ] && have apt-get; then
        say "installing with apt:$packages"
        export DEBIAN_FRONTEND=noninteractive
        # shellcheck disable=SC2086
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends $packages; } >&2 ||
            stop "apt could not install:$packages"
    else
        stop "the build needs more; on Debian: sudo apt-get update && sudo apt-get install -y$packages"
    fi
fi

wanted=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$root/Cargo.toml")
# A shell that was open while rustup was installed does not have it on its PATH yet.
if ! have cargo && [ -x "$HOME/.cargo/bin/cargo" ]; then PATH=$HOME/.cargo/bin:$PATH; fi
found=$(cd "$root" && cargo --version >/dev/null 2>&1 && rustc --version 2>/dev/null | sed 's/^rustc \([0-9.]*\).*/\1/') || found=''
if [ "$(printf '%s\n%s\n' "$wanted" "${found:-0}" | sort -V | head -n 1)" != "$wanted" ]; then
    command='rustup toolchain install stable --profile minimal --component rustfmt,clippy && rustup default stable'
    have rustup || command="install rustup (see https://rustup.rs), then: $command"
    stop "Rust $wanted or newer is needed, ${found:-none} was found; run: $command"
fi
if $needs; then exit 0; fi

bin=$prefix/bin
if ! mkdir -p "$bin" 2>/dev/null || ! [ -w "$bin" ]; then
    stop "cannot write to $bin; choose another place with --prefix DIR, or run as root"
fi

# Said in full, so that a configuration elsewhere cannot put the binary where the next lines do not look.
target=${CARGO_TARGET_DIR:-$root/target}
case $target in /*) ;; *) target=$PWD/$target ;; esac
(cd "$root" && cargo build --release --locked --target-dir "$target") >&2

# Tried before it replaces a good one, and put in place by one rename.
new=$bin/.crossfade.$$
trap 'rm -f "$new"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
cp "$target/release/crossfade" "$new"
chmod 755 "$new"
version=$("$new" --version) || stop "the new binary does not run; nothing was replaced"
mv -f "$new" "$bin/crossfade"
say "installed $version as $bin/crossfade"

case :$PATH: in
    *":$bin:"*)
        first=$(command -v crossfade || true)
        if [ "$first" = "$bin/crossfade" ]; then command=crossfade; else
            command=$bin/crossfade
            say "PATH finds another one first: $first"
        fi
        ;;
    *)
        command=$bin/crossfade
        say "PATH does not have $bin; add it with: export PATH=\"$bin:\$PATH\""
        ;;
esac
if $demo; then
    trap - EXIT
    exec "$bin/crossfade" demo
fi
say "next: $command demo"
