// See README.md beside this folder. PyTorch includes it and uses nothing of it.
#pragma once
