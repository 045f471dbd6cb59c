from loadtest.rollouts.cli import main

main()
