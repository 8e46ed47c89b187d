//! Session keys, tunnels and ssh to boards
