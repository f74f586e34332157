package kv

var setCommands []Command
