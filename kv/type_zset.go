package kv

var zsetCommands []Command
