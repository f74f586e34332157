package kv

var stringCommands = []Command{}
