"""Writes the tar files of this folder with Python's tarfile, and members.json, which says where it finds each member.

python3 make.py; GNU tar, for the sparse file, must be on the path.
"""
import io, json, os, struct, subprocess, tarfile, tempfile, zlib


def png(r, g, b):
    def chunk(kind, body):
        data = kind + body
        return struct.pack(">I", len(body)) + data + struct.pack(">I", zlib.crc32(data))
    line = b"\0" + bytes([r, g, b]) * 4
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(line * 4)) + chunk(b"IEND", b""))


def add(t, name, content=b"", **header):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in header.items():
        setattr(info, key, value)
    t.addfile(info, io.BytesIO(content))


def sample(t, key, n, directory=""):
    add(t, f"{directory}{key}.png", png(n, 2 * n, 3 * n))
    add(t, f"{directory}{key}.txt", f"{{Subject}} {n}".encode())
    add(t, f"{directory}{key}.json", json.dumps({"key": key, "url": f"https://example.org/{n}", "caption": f"{{Subject}} {n}"}).encode())


long = "a_long_name_" * 15
for name, form in [("ustar", tarfile.USTAR_FORMAT), ("gnu", tarfile.GNU_FORMAT), ("pax", tarfile.PAX_FORMAT)]:
    with tarfile.open(f"{name}.tar", "w", format=form) as t:
        for n in range(3):
            sample(t, f"{n:03}", n)
        if form != tarfile.USTAR_FORMAT:
            sample(t, long, 3)
            sample(t, "ünï 名前", 4, "folder.d/")

with tarfile.open("hostile.tar", "w", format=tarfile.GNU_FORMAT) as t:
    sample(t, "000", 0)
    add(t, "001.png", type=tarfile.SYMTYPE, linkname="/etc/passwd")
    add(t, "001.txt", b"a link for a picture")
    add(t, "002.png", type=tarfile.LNKTYPE, linkname="000.png")
    add(t, "003.png", type=tarfile.CHRTYPE, devmajor=1, devminor=5)
    add(t, "004.png", type=tarfile.FIFOTYPE)
    add(t, "005.png", type=tarfile.BLKTYPE)
    add(t, "../006.png", png(6, 6, 6))
    add(t, "/007.png", png(7, 7, 7))
    add(t, "a/../../008.png", png(8, 8, 8))
    add(t, "..\\009.png", png(9, 9, 9))
    add(t, "folder", type=tarfile.DIRTYPE)
    add(t, ".hidden.png", png(1, 1, 1))
    add(t, "__meta__.png", png(1, 1, 1))
    add(t, "without_an_ending", b"x")
    sample(t, "010", 10)

with tempfile.TemporaryDirectory() as d:
    with open(os.path.join(d, "000.png"), "wb") as f:
        f.write(png(0, 0, 0))
        f.seek(1 << 20)
        f.write(b"end")
    with open(os.path.join(d, "001.png"), "wb") as f:
        f.write(png(1, 2, 3))
    for form in ["gnu", "pax"]:
        subprocess.run(["tar", "--format", form, "--mtime=@0", "--owner=0", "--group=0", "--sparse", "--sort=name", "-C", d,
                        "-cf", f"sparse_{form}.tar", "000.png", "001.png"], check=True)

found = {}
for name in ["ustar", "gnu", "pax", "hostile"]:
    with tarfile.open(f"{name}.tar") as t:
        found[name] = [{"name": m.name, "at": m.offset_data, "size": m.size} for m in t if m.isreg()]
with open("members.json", "w") as f:
    json.dump(found, f, indent=1, ensure_ascii=False)
    f.write("\n")
