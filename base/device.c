/* SPDX-License-Identifier: MIT */
#include "base/device.h"

#include <assert.h>
#include <string.h>

void device_init(struct device *dev, const struct device_ops *ops, const char *name)
{
	assert(strlen(name) < sizeof(dev->name));
	dev->ops = ops;
	strcpy(dev->name, name);
	pthread_mutex_init(&dev->lock, NULL);
}

void device_destroy(struct device *dev)
{
	/*
	 * The lock goes with the memory: until its destroy has stopped them, a device's
	 * threads and timers may take it. A Linux mutex holds nothing to be released.
	 */
	dev->ops->destroy(dev);
}

void device_reset(struct device *dev)
{
	if (!dev->ops->reset)
		return;
	device_lock(dev);
	dev->ops->reset(dev);
	device_unlock(dev);
}

void device_lock(struct device *dev)
{
	pthread_mutex_lock(&dev->lock);
}

void device_unlock(struct device *dev)
{
	pthread_mutex_unlock(&dev->lock);
}
