"""A sweep's images: what they are, and where their prepared set lies once there is one."""

from jit_sweep.redact import redact
from jit_sweep.spec.data import DataSpec, FileData
from jit_sweep.spec.sweep import SweepSpec
from trainables.data import DataDescription, describe


def described(data: DataSpec) -> DataDescription:
    """A sweep's images, decoded no more than they must be. ValueError, OSError: they do not fit, or cannot be reached."""
    if isinstance(data, FileData):
        # Here and not at the top, as below: it starts numpy and Pillow, which packaged sets do without.
        from trainables.data.prepared.finding import description_of, to_prepare
        from trainables.data.prepared.preparing import preparation_of

        listing = to_prepare(data.uri, data.settings, format=data.format)
        if listing is not None:
            return description_of(preparation_of(listing, data.settings, format=data.format, uri=data.address))
    return describe(data.address, holdout=data.holdout)


def prepared_address(data: DataSpec, storage: str) -> str | None:
    """Where in a storage the prepared set of a sweep's images lies, or will; None where they need no preparation."""
    if not isinstance(data, FileData):
        return None
    from trainables.data.prepared.finding import home_of, record_of, to_prepare
    from trainables.data.prepared.preparing import prepared_id

    listing = to_prepare(data.uri, data.settings, format=data.format)
    if listing is None:
        return None
    record = record_of(listing, format=data.format, uri=redact(data.address))
    return home_of(storage, prepared_id(record, data.settings))


def with_prepared(spec: SweepSpec, storage: str) -> SweepSpec:
    """The sweep on the prepared set of its images, where the storage has it; else as it is."""
    address = prepared_address(spec.data, storage)
    if address is None:
        return spec
    from trainables.data.prepared.finding import is_there

    if not is_there(address):
        return spec
    return on_prepared(spec, address)


def on_prepared(spec: SweepSpec, address: str) -> SweepSpec:
    """The sweep on the prepared set at an address."""
    return spec.model_copy(update={"data": FileData(uri=address, flip=spec.data.flip, licence=spec.data.licence)})


def change_since_prepared(data: DataSpec, storage: str) -> str | None:
    """What has changed about a sweep's images since a storage got a prepared set of them; None: nothing that it knows of."""
    if not isinstance(data, FileData):
        return None
    from trainables.data.prepared.finding import former_set, record_of, to_prepare

    listing = to_prepare(data.uri, data.settings, format=data.format)
    if listing is None:
        return None
    now = record_of(listing, format=data.format, uri=redact(data.address))
    former = former_set(storage, now, data.settings)
    if former is None:
        return None
    remedy = f"`run` prepares them as another set; to go on with the images of before, say data: {{uri: {former.address}}}"
    return f"they have changed since they were prepared: {former.source.change_to(now)}; {remedy}"
