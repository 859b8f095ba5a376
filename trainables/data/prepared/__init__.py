"""Prepared sets: immutable folders of uint8 shards. `manifest` says what one holds, `layout` what is promised of it."""
