package kv

var listCommands []Command
