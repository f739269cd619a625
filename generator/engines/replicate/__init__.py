"""The engine `replicate`: closed and community models that Replicate runs, paid once each."""
