package kv

var hashCommands []Command
