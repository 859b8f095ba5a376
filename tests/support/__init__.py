"""What tests share: factories, ledgers, servers, clusters and the command line."""
