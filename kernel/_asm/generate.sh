#!/bin/sh
# Generates the assembly of package kernel. A file is replaced only when all of its
# generator's run went well, and only if it changed.
#
#	sh _asm/generate.sh [-out FOLDER]    the default folder is the package's
set -eu
asm=$(cd "$(dirname "$0")" && pwd)
out=$(dirname "$asm")
if [ "${1-}" = -out ]; then
	out=$(cd "$2" && pwd)
fi
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT
cd "$asm"
for generator in */main.go; do
	name=$(dirname "$generator")
	go build -o "$new/generator" "./$name"
	case $name in
	neon) arch=arm64 ;;
	*) arch=amd64 ;;
	esac
	(cd "$new" && ./generator -out "${name}_$arch.s" -stubs "${name}_stubs_$arch.go" -pkg kernel)
	for file in "${name}_$arch.s" "${name}_stubs_$arch.go"; do
		cmp -s "$new/$file" "$out/$file" || cp "$new/$file" "$out/$file"
	done
done
