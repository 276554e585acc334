"""What `circuitmark compare` says about who is ahead of whom: tables for the terminal, sections of a page."""
