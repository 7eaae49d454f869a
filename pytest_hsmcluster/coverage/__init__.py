"""Which documented failures did an application's own calls meet in its tests, and which never?"""
