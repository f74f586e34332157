package kv

var genericCommands = []Command{}
