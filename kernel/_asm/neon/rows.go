package main

func rows(o *output) {}
