#!/bin/sh
# Puts the uv executable at $1, by whatever this machine has: venv, pip, curl or wget. Nothing outside its folder changes.
set -eu
target=$1
folder=$(dirname "$target")
mkdir -p "$folder"

if python3 -m venv "$folder/venv" >/dev/null 2>&1 && "$folder/venv/bin/python" -m pip install -q uv; then
    ln -sf "$folder/venv/bin/uv" "$target"
elif python3 -m pip install -q --target "$folder/pip" uv 2>/dev/null; then
    ln -sf "$folder/pip/bin/uv" "$target"
elif command -v curl >/dev/null; then
    curl -LsSf https://astral.sh/uv/install.sh | UV_INSTALL_DIR="$folder" UV_NO_MODIFY_PATH=1 sh
elif command -v wget >/dev/null; then
    wget -qO- https://astral.sh/uv/install.sh | UV_INSTALL_DIR="$folder" UV_NO_MODIFY_PATH=1 sh
else
    echo "uv is missing and cannot be fetched: install python3-venv or curl (apt-get install python3-venv), then retry" >&2
    exit 1
fi
"$target" --version
