"""What a planned sweep will take, from measurements on this machine."""
