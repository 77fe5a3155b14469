"""Members of zip files as this package writes them: never packed, so never larger than the file."""

import zipfile


def read(archive: zipfile.ZipFile, name: str) -> bytes:
    """The content of a member. Raises ValueError where it is packed: it might fill the memory."""
    member = archive.getinfo(name)
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is packed, as nothing is that this program has written")
    return archive.read(member)
