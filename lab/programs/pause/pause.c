/* The first process of a pod: it holds the pod's namespaces, reaps orphans and leaves when told to. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void reap(int signal_number)
{
	(void)signal_number;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

static void leave(int signal_number)
{
	(void)signal_number;
	_exit(0);
}

int main(int argc, char **argv)
{
	struct sigaction on_child = {.sa_handler = reap, .sa_flags = SA_NOCLDSTOP | SA_RESTART};
	struct sigaction on_end = {.sa_handler = leave};

	if (argc > 1 && strcmp(argv[1], "-v") == 0) {
		puts("pause of the kubestage lab");
		return 0;
	}
	if (sigaction(SIGCHLD, &on_child, NULL) || sigaction(SIGINT, &on_end, NULL) || sigaction(SIGTERM, &on_end, NULL)) {
		perror("pause: sigaction");
		return 1;
	}
	for (;;)
		pause();
}
