package kv

var serverCommands = []Command{}
