package raftcore
