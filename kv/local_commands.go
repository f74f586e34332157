package kv

var localCommands = []Command{}
