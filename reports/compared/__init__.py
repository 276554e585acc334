"""What `circuitmark compare` tells, who is ahead of whom: tables for the terminal, sections of a page."""
