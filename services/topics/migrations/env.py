from forum.migrations import run

run()
