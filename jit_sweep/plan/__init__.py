"""From a sweep file to the trials it means, before anything starts."""
